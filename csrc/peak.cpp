// What the machine can multiply at most: the yardstick of `geneface bench`.
#include "network.hpp"
#include "tasks.hpp"

namespace geneface {
namespace GENEFACE_TARGET {
namespace {

// As many sums as hide the latency of one and fit into the registers.
constexpr int kSums = kNativeLanes == 16 ? 12 : kNativeLanes == 8 ? 5 : 2;

template <class Step>
float chains(int64_t rounds, const Step& step) {
  Floats sums[kSums];
  for (int k = 0; k < kSums; k++) sums[k] = broadcast(static_cast<float>(k));
  for (int64_t round = 0; round < rounds; round++)
#pragma GCC unroll 12
    for (int k = 0; k < kSums; k++) sums[k] = step(sums[k]);
  Floats total = sums[0];
  for (int k = 1; k < kSums; k++) total += sums[k];
  return sum(total);
}

}  // namespace

// Every task runs `rounds` rounds of kSums multiply-adds of sixteen lanes, or of bfloat16 pairs.
// Returns the number of operations.
int64_t peak(const PeakArgs& args) {
  const Floats factor = broadcast(args.factor);
  const Ints pair = pack_halves(factor, factor);
  const bool halves = args.halves && kHalfNetwork;
  for_each_task(args.tasks, [&](int task) {
    // The sum is a factor itself, lest the product be computed once for all rounds.
    args.results[task] = halves ? chains(args.rounds, [&](const Floats& x) { return add_pairs(x, pair, bits(x)); })
                                : chains(args.rounds, [&](const Floats& x) { return x * factor + factor; });
  });
  return args.tasks * args.rounds * kSums * kLanes * (halves ? 4 : 2);
}

}  // namespace GENEFACE_TARGET
}  // namespace geneface
