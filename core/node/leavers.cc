// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/leavers.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "control/migration_client.h"
#include "migration/departure.h"
#include "node/departure_watch.h"
#include "node/leaving.h"

namespace heca::node {

using control::EventKind;
using control::Severity;

namespace {

constexpr std::chrono::seconds kQemuPatience{5};
/// The destination is asked so often whether its QEMU still waits: libvirt tells nobody that it has given up, but ends it.
constexpr Millis kAskDestination{500};
/// Before it has prepared itself it does not know the VM; libvirt's hook waits no longer for that.
constexpr std::chrono::seconds kPreparePatience{15};
/// A migration that was given up lets go of QEMU within this.
constexpr std::chrono::seconds kCallOffPatience{5};
constexpr Millis kLookForEnd{20};

/// The destination's hecad asked for it: it has prepared itself.
class PreparedAlready final : public control::MigrationApi {
 public:
  explicit PreparedAlready(std::unique_ptr<control::MigrationApi> there) : there_(std::move(there)) {}
  Result<control::Departing> Depart(const control::DepartRequest& request) override { return there_->Depart(request); }
  Status Prepare(const control::PrepareRequest&) override { return {}; }
  Status Place(const RegionId& region, const control::LeaseKey& image, const control::Placement& placement) override {
    return there_->Place(region, image, placement);
  }
  Status Open(const RegionId& region, const control::LeaseKey& image) override { return there_->Open(region, image); }
  Status Tell(const RegionId& region, const control::LeaseKey& image, control::PageNews news,
              const std::vector<control::PageRun>& runs) override {
    return there_->Tell(region, image, news, runs);
  }
  Result<control::Arrival> Look(const RegionId& region, const control::LeaseKey& image, std::uint64_t bandwidth) override {
    return there_->Look(region, image, bandwidth);
  }
  Status Abort(const RegionId& region, const control::LeaseKey& image, const std::string& why) override {
    return there_->Abort(region, image, why);
  }

 private:
  const std::unique_ptr<control::MigrationApi> there_;
};

}  // namespace

struct Leavers::Entry final : control::ProgressSink {
  Entry(const std::atomic<bool>& stopping_now, Leaver& leaver, store::ImageSponsor& images, Departures& departures,
        const control::Lease& lease, std::unique_ptr<control::MigrationApi> destination, control::PrepareRequest prepare,
        DepartureLog& log, control::MigrationInfo info, Helm::Course the_course, Millis patience)
      : stopping(stopping_now),
        domain(info.domain),
        request(std::move(prepare)),
        course(std::move(the_course)),
        vm(leaver.vm, std::move(leaver.notes)),
        image(images, departures, lease, std::move(leaver.region)),
        there(std::move(destination)),
        watch(log, lease, std::move(info), there, *this, vm),
        departure(vm, image, watch, request, course.plan, *course.steering,
                  {.stream = patience, .ahead = {.welcome = kPreparePatience}}) {}

  void OnProgress(const control::Progress& progress) override {
    if (progress.phase == ToString(migration::Phase::kArrived)) has_left = true;
  }
  [[nodiscard]] bool Cancelled() const override { return stopping || called_off || DestinationGaveUp(); }

  /// On the departure's thread.
  [[nodiscard]] bool DestinationGaveUp() const {
    if (departure.phase() != migration::Phase::kStream || !ask_again.Passed()) return false;
    ask_again = Deadline::After(kAskDestination);
    const auto arrival = there.Look(request.region, image.lease().key, course.steering->bandwidth());
    if (!arrival.ok()) return arrival.status().code() == ErrorCode::kNotFound && (prepared || prepares.Passed());
    prepared = true;
    return arrival->state == control::ArrivalState::kFailed;
  }

  const std::atomic<bool>& stopping;
  const std::string domain;
  const control::PrepareRequest request;
  const Helm::Course course;
  LeavingDomain vm;
  LentRam image;
  mutable PreparedAlready there;
  mutable Deadline ask_again = Deadline::After(kAskDestination);
  const Deadline prepares = Deadline::After(kPreparePatience);
  mutable bool prepared = false;
  DepartureWatch watch;
  migration::Departure departure;
  std::atomic<bool> called_off{false};
  std::atomic<bool> has_left{false};
  std::atomic<bool> over{false};
  std::thread thread;
};

Leavers::Leavers(EventLog& events, DepartureLog& log, Helm& helm, FindLeaver find, Millis patience)
    : events_(events), log_(log), helm_(helm), find_(std::move(find)), patience_(patience) {}

Leavers::~Leavers() { Stop(); }

void Leavers::Stop() {
  stopping_ = true;
  for (auto& entry : entries_) entry->thread.join();
  entries_.clear();
}

void Leavers::Use(store::ImageSponsor& images, Departures& departures) {
  images_ = &images;
  departures_ = &departures;
}

Status Leavers::CallOffFormer(const std::string& domain) {
  const Deadline deadline = Deadline::After(kCallOffPatience);
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      const auto former = std::find_if(entries_.begin(), entries_.end(),
                                       [&](const auto& entry) { return entry->domain == domain && !entry->has_left; });
      if (former == entries_.end()) return {};
      (*former)->called_off = true;
    }
    if (deadline.Passed()) {
      return {ErrorCode::kBusy, "another migration of '" + domain + "' is being called off: try again", ErrorScope::kRegion};
    }
    std::this_thread::sleep_for(kLookForEnd);
  }
}

Result<control::Departing> Leavers::Depart(const control::DepartRequest& request) {
  HECA_RETURN_IF_ERROR(CallOffFormer(request.domain));
  HECA_ASSIGN_OR_RETURN(Leaver leaver, find_(request));
  HECA_ASSIGN_OR_RETURN(auto there, control::MigrationClient::Create({.endpoint = request.destination_address}));
  control::PrepareRequest prepared;
  const RegionId region = prepared.region = leaver.record.region;
  const Helm::Course course = helm_.Take(region, {.mode = request.mode}, 0);
  HECA_ASSIGN_OR_RETURN(control::Lease lease, images_->Offer(region, std::move(leaver.image)));
  control::Departing departing{lease, std::move(leaver.blocks), HandedWith(leaver)};
  leaver.record.image = {request.destination_node, request.destination_address, lease, {}};
  control::MigrationInfo info;
  info.domain = request.domain;
  info.destination = request.destination_node;
  info.reached.region = region;
  info.reached.mode = course.plan.mode;
  auto entry = std::make_unique<Entry>(stopping_, leaver, *images_, *departures_, lease, std::move(there), prepared, log_,
                                       std::move(info), course, patience_);
  Status begun = departures_->Begin(std::move(leaver.record));
  // Last: from here on QEMU must be told otherwise, whatever happens.
  if (begun.ok()) begun = leaver.vm->LeaveOutRam(Deadline::After(kQemuPatience));
  if (!begun.ok()) {
    entry->watch.Ended(begun, migration::Phase::kAborted);
    return begun;
  }
  events_.Add(Severity::kInfo, EventKind::kAttached, region, "leaves for '" + request.destination_node + "', led by libvirt");
  Entry* const made = entry.get();
  const std::lock_guard lock(mutex_);
  entries_.push_back(std::move(entry));
  made->thread = std::thread([this, made, region] {
    const auto summary = made->departure.Run(made->watch);
    const migration::Phase last = made->departure.phase();
    const bool goes_on = departures_->NoteCleared(made->image.lease().key.id, last, made->departure.restored(), summary.status());
    if (!goes_on) made->watch.Ended(summary, last);
    if (summary.ok()) {
      std::string how = "has left, its memory too";
      if (summary->rounds > 0 || summary->ahead.value() > 0) {
        how += ", " + FormatSize(summary->ahead) + " of it ahead in " + std::to_string(summary->rounds) + " rounds";
      }
      if (summary->mode != control::MigrationMode::kPostCopy && summary->rounds == 0) {
        how += ": it changed over before the first was over";
      }
      events_.Add(Severity::kInfo, EventKind::kDetached, region, how);
    } else {
      events_.Add(Severity::kWarning, EventKind::kAttachFailed, region, "migration: " + summary.status().ToString());
    }
    made->over = true;
  });
  return departing;
}

bool Leavers::Knows(const control::LeaseKey& image) const {
  const std::lock_guard lock(mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& entry) {
    const control::LeaseKey& key = entry->image.lease().key;
    return key.id == image.id && key.secret == image.secret;
  });
}

Status Leavers::Abort(const control::LeaseKey& image, const std::string& why) {
  const std::lock_guard lock(mutex_);
  for (auto& entry : entries_) {
    if (entry->image.lease().key.id != image.id) continue;
    Log().info("the destination calls a departure off: {}", why);
    entry->called_off = true;
  }
  return {};
}

void Leavers::Tick() {
  std::list<std::unique_ptr<Entry>> over;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = entries_.begin(); at != entries_.end();) {
      const auto next = std::next(at);
      if ((*at)->over) over.splice(over.end(), entries_, at);
      at = next;
    }
  }
  for (auto& entry : over) entry->thread.join();
}

}  // namespace heca::node
