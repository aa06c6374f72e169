// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/waiting_threads.h"

#include <algorithm>

namespace heca::fault {
namespace {

std::uint64_t Span(Clock::time_point from, Clock::time_point to) {
  return static_cast<std::uint64_t>(std::max(Nanos(to - from), Nanos(0)).count());
}

Nanos ToNanos(const Counter& counter) { return Nanos(static_cast<Nanos::rep>(counter.Value())); }

}  // namespace

WaitingThreads::WaitingThreads(std::span<const std::int32_t> vcpus)
    : threads_(vcpus.begin(), vcpus.end()), known_(!vcpus.empty()) {
  std::sort(threads_.begin(), threads_.end());
  threads_.erase(std::unique(threads_.begin(), threads_.end()), threads_.end());
  for (const std::int32_t thread : vcpus) {
    vcpus_.push_back(static_cast<std::size_t>(std::lower_bound(threads_.begin(), threads_.end(), thread) - threads_.begin()));
  }
  waited_ = std::vector<Counter>(threads_.size());
}

void WaitingThreads::Begin(std::int32_t thread, PageIndex page, Clock::time_point now) {
  if (waits_.empty()) return;
  if (thread == 0) known_.store(false, std::memory_order_relaxed);
  // A signal takes a thread out of its fault without a word to us; then it comes with another one.
  for (std::size_t i = 0; i < waiting_; ++i) {
    if (thread == 0 || waits_[i].thread != thread) continue;
    Finish(waits_[i], now);
    break;
  }
  const auto found = std::lower_bound(threads_.begin(), threads_.end(), thread);
  const bool is_vcpu = found != threads_.end() && *found == thread;
  if (!is_vcpu && waiting_ - waiting_vcpus_ == kMostOthers) return;
  const auto vcpu = is_vcpu ? static_cast<std::uint32_t>(found - threads_.begin()) : kOther;
  waits_[waiting_++] = {thread, vcpu, page, now};
  if (is_vcpu && ++waiting_vcpus_ == threads_.size()) all_since_ = now;
}

void WaitingThreads::End(region::PageRun run, Clock::time_point now) {
  for (std::size_t i = waiting_; i-- > 0;) {
    const PageIndex page = waits_[i].page;
    if (page >= run.first && page < run.first + run.pages) Finish(waits_[i], now);
  }
}

void WaitingThreads::Finish(Wait& wait, Clock::time_point now) {
  if (wait.vcpu == kOther) {
    others_waited_.Add(Span(wait.since, now));
  } else {
    waited_[wait.vcpu].Add(Span(wait.since, now));
    if (waiting_vcpus_-- == threads_.size()) all_waited_.Add(Span(all_since_, now));
  }
  wait = waits_[--waiting_];
}

std::optional<BlocktimeNumbers> WaitingThreads::Blocktime() const {
  if (!known_.load(std::memory_order_relaxed)) return std::nullopt;
  BlocktimeNumbers numbers;
  for (const std::size_t thread : vcpus_) numbers.vcpus.push_back(ToNanos(waited_[thread]));
  numbers.all_vcpus = ToNanos(all_waited_);
  numbers.others = ToNanos(others_waited_);
  return numbers;
}

}  // namespace heca::fault
