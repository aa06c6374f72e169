// SPDX-License-Identifier: LGPL-2.1-or-later
// A bounded queue between two threads without a lock: the fault loop never waits for a thread that was preempted.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <optional>

namespace heca::fault {

/// One pushing thread, one popping thread. Everything written before Push is seen after the Pop that returns it.
template <class T, std::size_t kCapacity>
class SpscRing {
 public:
  /// False if it is full.
  bool Push(T value) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == kCapacity) return false;
    cells_[tail % kCapacity] = value;
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  std::optional<T> Pop() {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return std::nullopt;
    const T value = cells_[head % kCapacity];
    head_.store(head + 1, std::memory_order_release);
    return value;
  }

 private:
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
  std::array<T, kCapacity> cells_{};
};

}  // namespace heca::fault
