// SPDX-License-Identifier: LGPL-2.1-or-later
// VMs that are leaving this node, over restarts of hecad: what is journaled when, and what the next hecad makes of it.
//
//   journal says   QEMU says                       the next hecad
//   streaming      anything, also no answer        calls it off, first of all at the destination: the VM goes on here
//   opened         (first of all)                  lends the image on
//                  pre-switchover                  calls it off: the destination has not got the device state
//                  failed, cancelled               takes the image back: the VM is here
//                  device                          asks again
//                  completed, or QEMU is gone      lends the image until it is given back
//   over           (not asked)                     removes what is left of it
//
// A VM whose memory is governed takes its region along: called off means that the region is taken back here, given back that
// it is forgotten (session_leave.cc).
#pragma once

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "guest/migrating_vm.h"
#include "heca/status.h"
#include "node/departure_log.h"
#include "node/departure_record.h"
#include "node/event_log.h"
#include "store/image_sponsor.h"

namespace heca::node {

/// What has become of a VM that was to leave.
enum class Whereabouts : std::uint8_t { kInvalid = 0, kStays = 1, kLeft = 2 };

/// The regions of VMs that are governed and leave: whoever has them is told how it ended. Thread-safe.
class LeavingRegions {
 public:
  virtual ~LeavingRegions() = default;
  /// May be repeated, and the region may not exist any more.
  virtual void EndLeave(const RegionId& region, Whereabouts where) = 0;
  /// Of its VM; null: not connected.
  [[nodiscard]] virtual std::shared_ptr<guest::Qmp> MonitorOf(const RegionId& region) = 0;
};

/// Thread-safe.
class Departures {
 public:
  Departures(std::string directory, store::ImageSponsor& images, LeavingRegions& regions, EventLog& events,
             DepartureLog& log);
  /// Leaves what is under way to the next hecad.
  ~Departures();
  /// The same, as long as the regions are still there.
  void Stop();
  Departures(const Departures&) = delete;
  Departures& operator=(const Departures&) = delete;

  /// Takes up what a hecad before this one has left. Images that the destination may need are lent when it returns.
  Status Resume();

  /// The VM is about to be streamed. kBusy: what a migration before has set in its QEMU is still to be cleared.
  Status Begin(DepartureRecord record);
  /// The image is about to be readable: from here on it must outlive hecad and QEMU.
  Status NoteOpened(LeaseId image);
  /// The VM runs at its destination, or nowhere: what is left is to lend the image until it is given back.
  void NoteLeft(LeaseId image);
  /// The destination needs no image any more: it has all of it, or its hecad has crashed and does not know the VM. Which of
  /// the two, only whoever leads the departure knows: nothing is over before the VM has left.
  void GivenBack(LeaseId image);
  /// It has ended, in the phase `last` and by `why`, and `cleared` is whether QEMU has confirmed that it writes RAM into streams again. If not: an
  /// alarm; and of a VM that stays the departure is not over before QEMU has, which is seen to here: true.
  bool NoteCleared(LeaseId image, migration::Phase last, const Status& cleared, const Status& why);
  /// It is over: the VM is here, or the destination has all of it.
  void Close(LeaseId image, Whereabouts where);

 private:
  /// One of the two that end a departure; it is closed when the other one is noted too.
  void Note(LeaseId image, std::set<LeaseId>& noted, const std::set<LeaseId>& other);
  /// Another hecad of the destination has taken the image over.
  Status NoteOwner(const store::ImageIdentity& identity);
  void TakeUp(const DepartureRecord& record);
  /// Writes down how far the destination is, until it has all of it.
  void Follow(const DepartureRecord& record);
  /// It is said, and may be again, that the VM does not come.
  bool TellCalledOff(const DepartureRecord& record);
  /// False: QEMU, which lives, has not confirmed that it writes RAM into streams again. To be repeated: a save would lose it.
  bool CallOff(const DepartureRecord& record, guest::MigratingVm* vm, bool told);
  /// True once QEMU has confirmed it, or has ended.
  bool ClearCapabilities(const DepartureRecord& record, guest::MigratingVm& vm);
  /// Asks until it has; left to the next hecad if this one ends before.
  void ClearInTheEnd(const DepartureRecord& record, const Status& why);
  /// It is over, and nothing is left to be cleared.
  void StaysHere(LeaseId image, const Status& why);
  void TellKept(const RegionId& region, const char* remedy, const Status& cleared);
  /// Its image was given back, by a destination where the VM runs: then it is known without QEMU.
  bool RunsThere(const DepartureRecord& record);
  Status OpenThere(const DepartureRecord& record);
  /// True once it is decided, and done; `arrived` then says how. `told`: the destination knows that it is called off.
  bool Decide(const DepartureRecord& record, bool told, bool& arrived);
  /// Null while QEMU lives and does not answer.
  [[nodiscard]] std::unique_ptr<guest::MigratingVm> Connect(const DepartureRecord& record, bool& gone);
  /// A region that is taken back connects its VM's monitor within milliseconds, and QEMU serves one client there: who came
  /// too would wait behind it, and the VM with it. Null: not in time, and it may never be, as it may wait for this.
  [[nodiscard]] std::shared_ptr<guest::Qmp> AwaitMonitor(const RegionId& region);
  Status LendAgain(const DepartureRecord& record);

  const DepartureJournal journal_;
  store::ImageSponsor& images_;
  LeavingRegions& regions_;
  EventLog& events_;
  DepartureLog& log_;
  std::mutex mutex_;  ///< of all that follows
  std::map<LeaseId, DepartureRecord> records_;
  std::set<LeaseId> left_, given_back_;  ///< of those
  std::set<LeaseId> kept_;               ///< of those whose QEMU keeps x-ignore-shared, which was told: not closed before
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> taken_up_;    ///< none is added once it is stopping
};

}  // namespace heca::node
