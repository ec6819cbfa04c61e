// A small pool of threads for kernels.
//
// Tasks are numbered and handed out one by one, so that a slow one holds up nobody. Kernels write results by task
// number and reduce them in that order: which thread did what never shows in a result.
#pragma once

namespace geneface {

// Runs task(context, i) for i in [0, count) on all threads and returns when all are done. Calls from several threads at
// once are fine: one gets the pool, the others do their tasks themselves.
void run_tasks(int count, void (*task)(void* context, int index), void* context);

void set_threads(int count);
int threads();

}  // namespace geneface
