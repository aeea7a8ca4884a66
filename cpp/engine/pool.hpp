// Runs the parts of a job on several threads.
//
// Starting a thread costs as much as filling 10^5 elements, so helpers are started when a job first wants them and
// sleep between jobs. A job never waits for a helper that has not come: the caller works on its parts too, and each
// takes the next part when it has done one, so a helper that wakes late or runs on a busy CPU takes fewer of them.
#pragma once

#include <cstddef>
#include <functional>

namespace fastinit {

constexpr int kMostThreads = 512;  // more are a slip of the keyboard

// Calls part(0) .. part(n - 1), each once, on this thread and at most threads - 1 helpers, and returns when all are
// done. Fewer helpers come where no more can be started, or where they work for others: many threads may call it at
// once, and there are only as many helpers as the one that wants most has asked for. No part may throw.
void in_parallel(std::size_t n, int threads, const std::function<void(std::size_t)>& part);

// To be called once, before the first fork: a child then knows that it has no helpers, and starts its own.
void prepare_for_forks();

}  // namespace fastinit
