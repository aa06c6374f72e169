// SPDX-License-Identifier: LGPL-2.1-or-later
// What an operator may change while a migration runs.
#pragma once

#include <atomic>
#include <cstdint>

namespace heca::migration {

/// Thread-safe.
class Steering {
 public:
  explicit Steering(std::uint64_t bandwidth = 0) : bandwidth_(bandwidth) {}
  /// The VM changes over as soon as it can, whatever is still to be copied: that follows. Cannot be taken back.
  void SwitchNow() { now_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool switch_now() const { return now_.load(std::memory_order_relaxed); }
  /// Bytes a second for what is copied ahead or behind; 0: as fast as it goes.
  void SetBandwidth(std::uint64_t bandwidth) { bandwidth_.store(bandwidth, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t bandwidth() const { return bandwidth_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> now_{false};
  std::atomic<std::uint64_t> bandwidth_;
};

}  // namespace heca::migration
