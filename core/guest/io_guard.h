// SPDX-License-Identifier: LGPL-2.1-or-later
// The answers of the guest room to heca/io_guard.h: when is the direct disk I/O of a moment over?
//
// The first of these that speaks for a mark releases it:
//  (a) none needed: a look at /proc begun after the mark finds no O_DIRECT file, no AIO ring, no io_uring, no block
//      device. Looked at again for every batch of marks, so a disk plugged in later switches to the next rules at once.
//  (b) virtio queues idle (guest/virtio_idle.h): asked of QEMU, for marks that wait.
//  (c) read calls ended (guest/direct_io.h): for synchronous direct I/O, that is aio=threads and plain programs.
//  (d) the grace time: the last resort, a bet that no request takes longer (1 s by default; storage that can take
//      longer needs more). It always applies; pages must be armed well ahead of need for it.
//
// Looks are made by two threads of this object (one for /proc, one for QEMU, whose answers may be late) and only
// while marks wait. Mark and Drained are a few atomic operations and, for the first mark of a batch, one futex wake.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "guest/qmp.h"
#include "heca/io_guard.h"
#include "heca/status.h"

namespace heca::guest {

struct IoGuardOptions {
  /// After this a mark is drained whatever else is known. Source of the default: the kernel's block layer starts to
  /// complain at 30 s, healthy storage answers in well under 1 s.
  Nanos grace = std::chrono::seconds(1);
  /// Between two looks at /proc while marks wait: a look costs about 1 ms of CPU.
  Nanos look_interval = std::chrono::milliseconds(10);
  /// Between two rounds of questions to QEMU: each costs its main loop well under a millisecond.
  Nanos ask_interval = std::chrono::milliseconds(20);
};

/// Which rule released the newest mark that is drained.
enum class IoRule : std::uint8_t { kInvalid = 0, kNone = 1, kQueuesIdle = 2, kReadsEnded = 3, kGrace = 4 };
[[nodiscard]] std::string_view ToString(IoRule rule);

/// Thread-safe.
class GuestIoGuard final : public IoGuard {
 public:
  /// `monitor` may be null: a plain process, or a VM whose monitor is not connected yet (after a take-over nobody waits
  /// for QEMU). The first look is made here, so that Describe is right at once.
  [[nodiscard]] static Result<std::unique_ptr<GuestIoGuard>> Create(pid_t pid, std::shared_ptr<Qmp> monitor,
                                                                    const IoGuardOptions& options);
  ~GuestIoGuard() override;

  [[nodiscard]] IoMark Mark() override;
  [[nodiscard]] bool Drained(IoMark mark) override;
  [[nodiscard]] int RecheckMs() const override;
  [[nodiscard]] std::string Describe() const override;

  /// The VM's monitor from now on; what the former one says is dropped. Does not wait for QEMU: rule (b) is in force
  /// again once it has answered, until then (d) is. Null: there is none.
  void UseMonitor(std::shared_ptr<Qmp> monitor);

  /// Which rule spoke last.
  [[nodiscard]] IoRule LastRule() const { return last_rule_.load(std::memory_order_relaxed); }

 private:
  using Moment = std::uint64_t;  ///< nanoseconds of the steady clock; also the value of an IoMark

  GuestIoGuard(pid_t pid, std::shared_ptr<Qmp> monitor, const IoGuardOptions& options);
  void WatchProc();
  void WatchQemu();
  void MeetMonitor(Qmp& monitor);
  void AskQemu(const std::shared_ptr<Qmp>& monitor);
  /// Blocks until a mark waits for a proof and returns the present moment, for which a proof is to be made; 0: the end.
  [[nodiscard]] Moment NextRound();
  /// The same for the thread that asks `monitor`; 0 also when that is not the monitor any more.
  [[nodiscard]] Moment NextRoundWith(const Qmp& monitor);
  /// Sleeps; false: the end.
  [[nodiscard]] bool Pause(Nanos span);
  [[nodiscard]] bool Pending() const;
  void Prove(Moment moment, IoRule rule);
  [[nodiscard]] bool Look();
  void ProveReads(Moment moment);
  void RefreshVcpus(Qmp& monitor);
  void NoteAnswer(const Qmp& monitor, const Status& answer);

  const pid_t pid_;
  const IoGuardOptions options_;

  std::atomic<Moment> newest_mark_{0};
  std::atomic<Moment> proved_until_{0};  ///< all I/O in flight at this moment or before is over
  std::atomic<IoRule> last_rule_{IoRule::kInvalid};
  std::atomic<int> sleepers_{0};  ///< threads that wait for a mark: a mark wakes only then

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::string found_;          ///< what /proc showed; empty: no direct I/O
  bool synchronous_only_ = false;
  /// Shared: its owner replaces it while a question to it may be under way here. Null: none, or it is gone.
  std::shared_ptr<Qmp> monitor_;
  bool met_ = false;            ///< it was asked, so that the next line says what it can do
  std::string virtio_problem_;  ///< why QEMU cannot tell; empty: it can
  std::vector<pid_t> vcpus_;

  std::thread proc_thread_;
  std::thread qemu_thread_;
};

/// Only rule (d): where nothing is known of the process.
class GraceIoGuard final : public IoGuard {
 public:
  explicit GraceIoGuard(Nanos grace) : grace_(grace) {}
  [[nodiscard]] IoMark Mark() override;
  [[nodiscard]] bool Drained(IoMark mark) override;
  [[nodiscard]] int RecheckMs() const override;
  [[nodiscard]] std::string Describe() const override;

 private:
  const Nanos grace_;
};

}  // namespace heca::guest
