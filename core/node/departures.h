// SPDX-License-Identifier: LGPL-2.1-or-later
// VMs that are leaving this node, over restarts of hecad: what is journaled when, and what the next hecad makes of it.
//
//   journal says   QEMU says                       the next hecad
//   streaming      anything                        calls it off: the VM goes on here
//   opened         (first of all)                  lends the image on
//                  pre-switchover                  calls it off: the destination has not got the device state
//                  failed, cancelled               takes the image back: the VM is here
//                  device                          asks again
//                  completed, or QEMU is gone      lends the image until it is given back
#pragma once

#include <atomic>
#include <list>
#include <map>
#include <memory>
#include <mutex>
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

/// Thread-safe.
class Departures {
 public:
  Departures(std::string directory, store::ImageSponsor& images, EventLog& events, DepartureLog& log);
  /// Leaves what is under way to the next hecad.
  ~Departures();
  Departures(const Departures&) = delete;
  Departures& operator=(const Departures&) = delete;

  /// Takes up what a hecad before this one has left. Images that the destination may need are lent when it returns.
  Status Resume();

  /// The VM is about to be streamed.
  Status Begin(DepartureRecord record);
  /// The image is about to be readable: from here on it must outlive hecad and QEMU.
  Status NoteOpened(LeaseId image);
  /// It is over: the VM is here, or nobody needs its memory here any more.
  void Close(LeaseId image);
  /// It is over: the destination has all of it.
  void GivenBack(LeaseId image);

 private:
  /// Another hecad of the destination has taken the image over.
  Status NoteOwner(const store::ImageIdentity& identity);
  void TakeUp(const DepartureRecord& record);
  /// Writes down how far the destination is, until it has all of it.
  void Follow(const DepartureRecord& record);
  void CallOff(const DepartureRecord& record, guest::MigratingVm* vm);
  /// True once it is decided; `arrived` then says how.
  bool Decide(const DepartureRecord& record, bool& arrived);
  /// Null while QEMU lives and does not answer.
  [[nodiscard]] std::unique_ptr<guest::MigratingVm> Connect(const DepartureRecord& record, bool& gone);
  Status LendAgain(const DepartureRecord& record);
  static void MakeLinks(DepartureRecord& record);

  const DepartureJournal journal_;
  store::ImageSponsor& images_;
  EventLog& events_;
  DepartureLog& log_;
  std::mutex mutex_;  ///< of the records
  std::map<LeaseId, DepartureRecord> records_;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> taken_up_;
};

}  // namespace heca::node
