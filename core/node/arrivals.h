// SPDX-License-Identifier: LGPL-2.1-or-later
// VMs that are on their way to this node: what a source's hecad asks of this one (control/migration_api.h says what the calls
// mean), and what has become of each for some time after.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "control/migration_api.h"
#include "guest/migrating_vm.h"
#include "node/arriving.h"
#include "node/event_log.h"

namespace heca::node {

struct ArrivalTimes {
  Millis pull_anyway{2'000};  ///< a VM that is not seen to run so long after Open (it was paused) gets its pages all the same
  Millis silence{600'000};    ///< so long a prepared QEMU is kept waiting for a source that says nothing
  Millis memory{600'000};     ///< so long the end of an arrival is remembered
};

/// Thread-safe.
class Arrivals {
 public:
  /// Makes the region's session and keeps it, or says why not.
  using MakeSession = std::function<Result<std::shared_ptr<Arriving>>(const control::PrepareRequest&)>;

  Arrivals(EventLog& events, MakeSession make, const ArrivalTimes& times = {})
      : events_(events), make_(std::move(make)), times_(times) {}

  Status Prepare(const control::PrepareRequest& request);
  Status Place(const RegionId& region, const control::LeaseKey& image, const control::Placement& placement);
  Status Open(const RegionId& region, const control::LeaseKey& image);
  Status Tell(const RegionId& region, const control::LeaseKey& image, control::PageNews news,
              const std::vector<control::PageRun>& runs);
  Result<control::Arrival> Look(const RegionId& region, const control::LeaseKey& image, std::uint64_t bandwidth);
  Status Abort(const RegionId& region, const control::LeaseKey& image, const std::string& why);

  /// Notices a VM that has begun to run, one whose source has fallen silent, and those that are over.
  void Tick();

 private:
  struct Entry {
    control::LeaseKey key;
    std::shared_ptr<Arriving> session;        ///< null once it is over; so is the next
    std::unique_ptr<guest::MigratingVm> vm;
    Clock::time_point changed = Clock::now();  ///< when it came into its state
    std::optional<Clock::time_point> opened;
    std::optional<Clock::time_point> resumed;
    bool pulling = false;
    bool capabilities_cleared = false;
    bool ahead = false;  ///< before Open it was told which pages hold nothing: they come ahead
    bool empty_no_more = false;  ///< pages have changed since then: to say so again would be out of date
    bool busy = false;  ///< being opened, told of pages that changed, called off or asked
    std::optional<std::string> given_up;  ///< an Abort; if it was busy, the next Tick calls it off
    control::Arrival arrival;
  };
  using EntryPtr = std::shared_ptr<Entry>;

  /// With the lock held.
  [[nodiscard]] Result<EntryPtr> Find(const RegionId& region, const control::LeaseKey& image) const;
  void Refresh(Entry& entry);
  void TickOne(Entry& entry);
  void CallOff(const RegionId& region, const EntryPtr& entry, const std::string& why);

  EventLog& events_;
  const MakeSession make_;
  const ArrivalTimes times_;
  mutable std::mutex mutex_;  ///< of the map and of what the entries hold
  std::map<RegionId, EntryPtr> entries_;
};

}  // namespace heca::node
