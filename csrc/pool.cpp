#include "pool.hpp"

#if defined(__linux__)
#include <sched.h>
#endif
#if !defined(_WIN32)
#include <pthread.h>
#endif

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>

namespace geneface {
namespace {

int usable_processors() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
  return std::max(1u, std::thread::hardware_concurrency());
}

class Pool {
 public:
  explicit Pool(int helpers) : helpers_(helpers) {
    // Detached: the pool lives as long as the process (or until its fork's child makes its own).
    try {
      for (int i = 0; i < helpers; i++) std::thread([this] { help(); }).detach();
    } catch (const std::exception&) {
      // No memory or no permission for more threads: those that there are do all the work. Nothing may be thrown,
      // because they already hold `this`.
    }
  }

  int helpers() const { return helpers_; }

  void run(int count, void (*task)(void*, int), void* context) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      task_ = task, context_ = context, count_ = count;
      next_.store(0, std::memory_order_relaxed);
      open_ = true;
      round_++;
    }
    wake_.notify_all();
    work();
    // Helpers that have not even woken up are not waited for: another program may have their processor.
    std::unique_lock<std::mutex> lock(mutex_);
    open_ = false;
    done_.wait(lock, [this] { return busy_ == 0; });
  }

  // Sends the helpers home; the pool stays in memory because they leave in their own time.
  void retire() {
    std::lock_guard<std::mutex> lock(mutex_);
    retired_ = true;
    wake_.notify_all();
  }

 private:
  void work() {
    for (int i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) task_(context_, i);
  }

  void help() {
    uint64_t seen = 0;
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return retired_ || (open_ && round_ != seen); });
      if (retired_) return;
      seen = round_;
      busy_++;
      lock.unlock();
      work();
      lock.lock();
      if (--busy_ == 0) done_.notify_one();
    }
  }

  const int helpers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  void (*task_)(void*, int) = nullptr;
  void* context_ = nullptr;
  int count_ = 0;
  std::atomic<int> next_{0};
  uint64_t round_ = 0;
  int busy_ = 0;
  bool open_ = false;
  bool retired_ = false;
};

// Whoever holds this flag uses the pool. A plain flag, not a mutex: a fork's child can take it over.
std::atomic<bool> in_use{false};
std::atomic<int> wanted_threads{usable_processors()};
Pool* pool = nullptr;

#if !defined(_WIN32)
// Threads do not survive a fork: the child starts again and leaves the parent's pool, whose locks may be held, alone.
// The handler runs before fork() returns, while the child has one thread: nobody can ask for the pool meanwhile.
const int fork_handler = pthread_atfork(nullptr, nullptr, [] {
  pool = nullptr;
  in_use.store(false);
});
#endif

}  // namespace

void run_tasks(int count, void (*task)(void*, int), void* context) {
  const int helpers = wanted_threads.load() - 1;
  if (count <= 1 || helpers == 0 || in_use.exchange(true)) {
    for (int i = 0; i < count; i++) task(context, i);
    return;
  }
  if (pool && pool->helpers() != helpers) {
    pool->retire();
    pool = nullptr;
  }
  if (!pool) pool = new Pool(helpers);
  pool->run(count, task, context);
  in_use.store(false);
}

void set_threads(int count) { wanted_threads.store(std::max(1, count)); }
int threads() { return wanted_threads.load(); }

}  // namespace geneface
