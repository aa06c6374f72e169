// SPDX-License-Identifier: LGPL-2.1-or-later
// Stops and continues a VM over QMP from a thread of its own, so that the fault path may ask for it.
//
// It continues only what it has stopped itself: a VM that an operator paused stays paused. An operator's `cont` while
// our stop holds is respected too: the stop counts as taken back.
//
// A stop may not come back for long: QEMU waits for every vCPU, and one of them may be waiting for the very page that
// is out of reach. The other vCPUs do stop meanwhile. QEMU runs commands in order, so a `cont` sent later is carried
// out once the stop has completed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "guest/qmp.h"
#include "heca/status.h"

namespace heca::guest {

/// Thread-safe. `qmp` outlives it.
class VmControl {
 public:
  explicit VmControl(Qmp& qmp);
  /// Does not continue a VM that it has stopped: the caller decides. Waits for a command under way (a second at most).
  ~VmControl();
  VmControl(const VmControl&) = delete;
  VmControl& operator=(const VmControl&) = delete;

  /// Ask; neither blocks nor allocates. The latest request wins.
  void RequestStop() { Request(Wish::kStopped); }
  void RequestResume() { Request(Wish::kRunning); }
  /// The VM was stopped by a hecad before this one (its journal says so): continuing it is ours.
  void AdoptStop() { hold_->state.store(HoldState::kHolding, std::memory_order_release); }

  /// True from the moment when our stop was sent until a continue, ours or an operator's.
  [[nodiscard]] bool HoldsStop() const { return hold_->state.load(std::memory_order_acquire) != HoldState::kNone; }
  /// True if no request waits or is under way.
  [[nodiscard]] bool Idle() const;
  /// Waits until the latest request has been carried out; its error if it failed. kDeadlineExceeded of a stop means
  /// that QEMU has it and has not completed it.
  [[nodiscard]] Status Wait(Deadline deadline);

  /// QEMU's run state: "running", "paused", "io-error", ... Blocks.
  [[nodiscard]] Result<std::string> QueryStatus(Deadline deadline);

 private:
  enum class Wish : std::uint8_t { kNone = 0, kStopped = 1, kRunning = 2 };
  enum class HoldState : std::uint8_t {
    kNone = 0,
    kSent = 1,     ///< our stop was sent; a RESUME event now is older than it
    kHolding = 2,  ///< its STOP event came
  };
  /// Shared with the event listener, which may outlive this object.
  struct Hold {
    std::atomic<HoldState> state{HoldState::kNone};
    std::atomic<std::uint64_t> sent_after_event{0};  ///< events up to this one are older than our stop
  };

  void Request(Wish wish);
  void Run();
  Status CarryOut(Wish wish);

  Qmp& qmp_;
  const std::shared_ptr<Hold> hold_ = std::make_shared<Hold>();
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  Wish wish_ = Wish::kNone;
  bool busy_ = false;
  bool ending_ = false;
  Status last_;
  std::thread worker_;
};

}  // namespace heca::guest
