// SPDX-License-Identifier: LGPL-2.1-or-later
// VMs that leave this node because libvirt migrates them: libvirt starts and ends the stream, hecad lends the memory. The
// destination's hecad asks for it (Depart) while its libvirt holds the migration back, so that nothing has begun when the
// source's QEMU learns to leave its RAM out.
#pragma once

#include <atomic>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "control/migration_api.h"
#include "node/departure_log.h"
#include "node/departures.h"
#include "node/event_log.h"
#include "node/helm.h"
#include "node/leaver.h"
#include "store/image_sponsor.h"

namespace heca::node {

/// Thread-safe.
class Leavers {
 public:
  /// `find` makes the leaver of a domain, or says why it cannot leave.
  using FindLeaver = std::function<Result<Leaver>(const control::DepartRequest&)>;

  /// `patience`: from Depart until libvirt has led QEMU to the switch-over. No longer: a migration that libvirt has given up
  /// without a word would leave x-ignore-shared on, and a save would write an image without RAM.
  Leavers(EventLog& events, DepartureLog& log, Helm& helm, FindLeaver find, Millis patience = std::chrono::seconds(30));
  /// Calls off what has not been switched over; the rest is journaled and goes on with the next hecad.
  ~Leavers();
  /// The same, as long as what they lean on is still there.
  void Stop();

  /// Set once, before the first Depart; both outlive this object.
  void Use(store::ImageSponsor& images, Departures& departures);

  Result<control::Departing> Depart(const control::DepartRequest& request);
  [[nodiscard]] bool Knows(const control::LeaseKey& image) const;
  /// The destination cannot take it.
  Status Abort(const control::LeaseKey& image, const std::string& why);
  /// Buries those that are over.
  void Tick();

 private:
  struct Entry;

  /// libvirt begins anew: what it had begun before is none of its business any more. Returns once that is buried, because
  /// QEMU serves one client a monitor. kBusy: not yet.
  Status CallOffFormer(const std::string& domain);

  EventLog& events_;
  DepartureLog& log_;
  Helm& helm_;
  const FindLeaver find_;
  const Millis patience_;
  store::ImageSponsor* images_ = nullptr;
  Departures* departures_ = nullptr;
  std::atomic<bool> stopping_{false};
  mutable std::mutex mutex_;  ///< of the list
  std::list<std::unique_ptr<Entry>> entries_;
};

}  // namespace heca::node
