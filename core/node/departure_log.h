// SPDX-License-Identifier: LGPL-2.1-or-later
// How far the VMs are that leave this node, whoever leads them, and what became of those that were over a short time ago:
// what NodeApi::Migrations tells. Nothing is decided here.
#pragma once

#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "control/migration_types.h"
#include "heca/status.h"
#include "migration/phase.h"

namespace heca::node {

/// Thread-safe. A departure is named by the lease of its image; notes about one that is not known, or over, are dropped.
class DepartureLog {
 public:
  static constexpr std::chrono::minutes kKept{10};
  /// Of those that are over: peers can make any number of them.
  static constexpr std::size_t kMostOver = 256;
  using Now = Clock::time_point (*)();

  explicit DepartureLog(Now now = [] { return Clock::now(); }) : now_(now) {}

  /// `info` names the domain, the destination, the region and the mode; the rest is filled in here. Somebody watches it, who
  /// will say how it ended, or Unwatch.
  void Begin(const control::Lease& image, control::MigrationInfo info);
  void Note(LeaseId image, control::Progress progress);
  /// What the destination says.
  void Note(LeaseId image, const control::Arrival& arrival);
  void NoteDowntime(LeaseId image, Nanos downtime);
  /// It went well.
  void End(LeaseId image, const control::MigrationSummary& summary);
  /// It did not; `last` is the phase it ended in.
  void End(LeaseId image, migration::Phase last, const Status& why);
  /// Nobody watches it any more. It is over once its image is given back.
  void Unwatch(LeaseId image);
  void GivenBack(LeaseId image);

  [[nodiscard]] std::vector<control::MigrationInfo> List();

 private:
  struct Entry {
    control::MigrationInfo info;
    Clock::time_point began;
    std::optional<Clock::time_point> ended;
    bool watched = true;
    bool given_back = false;
  };

  // All with the lock held.
  [[nodiscard]] Entry* Find(LeaseId image);
  void Close(Entry& entry, migration::Phase last);
  void EndUnwatched(Entry& entry);
  void Forget();

  const Now now_;
  std::mutex mutex_;
  std::list<Entry> entries_;  ///< the oldest first
};

}  // namespace heca::node
