// SPDX-License-Identifier: LGPL-2.1-or-later
// QEMU's part of a live migration, by QMP: only device state travels, because RAM is a shared file that x-ignore-shared
// leaves out. That capability is sticky and invisible to libvirt: left on, a later save writes an image without RAM. So
// it is set late and cleared always; ClearCapabilities says whether QEMU has confirmed it.
//
// Never called from a thread that serves faults.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "guest/qmp.h"
#include "heca/status.h"
#include "os/run_first.h"

namespace heca::guest {

/// What QEMU last said in a MIGRATION event, as far as it matters here.
enum class StreamState : std::uint8_t {
  kInvalid = 0,
  kNone = 1,           ///< nothing yet
  kActive = 2,         ///< setup, active, wait-unplug
  kPreSwitchover = 3,  ///< the VM is stopped and its disks are drained; QEMU waits for Continue
  kDevice = 4,
  kCompleted = 5,
  kFailed = 6,         ///< failed or cancelled
};
[[nodiscard]] std::string_view ToString(StreamState state);

/// Thread-safe.
class MigratingVm {
 public:
  /// `qmp` is the VM's monitor. Listens from now on.
  explicit MigratingVm(std::shared_ptr<Qmp> qmp);

  /// The stream was started by a hecad before this one, of a VM that ran before or did not: asks QEMU where it is.
  Result<StreamState> Adopt(bool ran, Deadline deadline);

  // A call that sets the capability and fails has taken it back, for which it may need two seconds more than `deadline`;
  // where QEMU does not confirm that, the error says so.
  //
  // The source.
  /// Sets the capabilities and starts the stream to `uri`. kFailedPrecondition: QEMU refuses, with its words.
  Status Start(const std::string& uri, Deadline deadline);
  /// Only the capability: somebody else (libvirt) starts the stream.
  Status LeaveOutRam(Deadline deadline);
  /// The stream, if it has begun, goes on at next to nothing, so that the VM is not stopped yet; until ReleaseStream, or until
  /// somebody sets another speed.
  Status HoldStream(Deadline deadline);
  /// The caller's thread, and those that bring it QEMU's events, run first: a stream is held back within milliseconds or not.
  [[nodiscard]] Result<os::RunFirst> RunFirst();
  /// As fast as it can: there is no RAM in it that would need a limit. Without a HoldStream: nothing.
  Status ReleaseStream(Deadline deadline);
  /// From pre-switchover on.
  Status Continue(Deadline deadline);
  /// Ends the stream. True: a VM that ran before runs here again. False: the stream had completed, the destination has
  /// the VM. An error: not known.
  Result<bool> Cancel(Deadline deadline);

  // The destination.
  /// The QEMU waits with `-incoming defer`: sets the capability and listens at `uri` (empty: somebody else says it).
  Status Listen(const std::string& uri, Deadline deadline);

  /// Either side. Ok only if QEMU says that x-ignore-shared is off; the others are left to libvirt where it leads.
  Status ClearCapabilities(Deadline deadline);
  /// The destination, once the VM is in it. False as long as QEMU waits for it, or has not confirmed.
  bool ClearOnceItHasCome(Deadline deadline);

  struct Moments {
    StreamState state = StreamState::kNone;
    std::optional<Clock::time_point> stopped;  ///< the last STOP event
    std::optional<Clock::time_point> resumed;  ///< the last RESUME event
  };
  [[nodiscard]] Moments Now() const;
  /// Waits until the stream is in `wanted` or later, or failed. kDeadlineExceeded; kUnavailable: QEMU is gone.
  [[nodiscard]] Result<Moments> WaitFor(StreamState wanted, Deadline deadline) const;
  /// QEMU's run state: "running", "paused", "postmigrate", "inmigrate", ...
  [[nodiscard]] Result<std::string> RunState(Deadline deadline);

 private:
  /// Shared with the listener, which may outlive this object.
  struct Heard {
    mutable std::mutex mutex;
    std::condition_variable changed;
    Moments moments;
    std::string error;  ///< QEMU's reason of a failure, if it said one
  };
  static void Hear(Heard& heard, const QmpEvent& event);
  Status SetCapabilities(bool source, bool on, Deadline deadline);
  /// Sets the capabilities, or has them cleared.
  Status LeaveOut(bool source, Deadline deadline);
  /// Takes the capabilities back, and says so in what it returns if QEMU does not confirm it.
  Status Undo(const Status& failed);

  const std::shared_ptr<Qmp> qmp_;
  const std::shared_ptr<Heard> heard_ = std::make_shared<Heard>();
  std::atomic<bool> held_{false};
  bool ran_ = false;   ///< before Start
  bool leads_ = true;  ///< the stream is ours to start, and pause-before-switchover ours to clear
};

}  // namespace heca::guest
