// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/leavers.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "control/migration_client.h"
#include "migration/departure.h"
#include "node/leaving.h"

namespace heca::node {

using control::EventKind;
using control::Severity;

namespace {

constexpr std::chrono::seconds kQemuPatience{5};

/// The destination's hecad asked for it: it has prepared itself.
class PreparedAlready final : public control::MigrationApi {
 public:
  explicit PreparedAlready(std::unique_ptr<control::MigrationApi> there) : there_(std::move(there)) {}
  Result<control::Departing> Depart(const control::DepartRequest& request) override { return there_->Depart(request); }
  Status Prepare(const control::PrepareRequest&) override { return {}; }
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
  Entry(const std::atomic<bool>& stopping_now, std::shared_ptr<guest::MigratingVm> qemu, WriteNotes notes,
        store::ImageSponsor& images, Departures& departures, control::Lease lease,
        std::unique_ptr<control::MigrationApi> destination, control::PrepareRequest request, Helm::Course the_course,
        Millis patience)
      : stopping(stopping_now),
        course(std::move(the_course)),
        vm(std::move(qemu), std::move(notes)),
        image(images, departures, std::move(lease)),
        there(std::move(destination)),
        departure(vm, image, there, std::move(request), course.plan, *course.steering, {.stream = patience}) {}

  void OnProgress(const control::Progress&) override {}
  [[nodiscard]] bool Cancelled() const override { return stopping || called_off; }

  const std::atomic<bool>& stopping;
  const Helm::Course course;
  LeavingDomain vm;
  LentRam image;
  PreparedAlready there;
  migration::Departure departure;
  std::atomic<bool> called_off{false};
  std::atomic<bool> over{false};
  std::thread thread;
};

Leavers::Leavers(EventLog& events, Helm& helm, FindLeaver find, Millis patience)
    : events_(events), helm_(helm), find_(std::move(find)), patience_(patience) {}

Leavers::~Leavers() {
  stopping_ = true;
  for (auto& entry : entries_) entry->thread.join();
}

void Leavers::Use(store::ImageSponsor& images, Departures& departures) {
  images_ = &images;
  departures_ = &departures;
}

Result<control::Departing> Leavers::Depart(const control::DepartRequest& request) {
  HECA_ASSIGN_OR_RETURN(Leaver leaver, find_(request));
  HECA_ASSIGN_OR_RETURN(auto there, control::MigrationClient::Create({.endpoint = request.destination_address}));
  HECA_ASSIGN_OR_RETURN(control::Lease lease, images_->Offer(leaver.record.region, std::move(leaver.image)));
  control::PrepareRequest prepared;
  prepared.region = leaver.record.region;
  leaver.record.image = {request.destination_node, request.destination_address, lease, {}};
  auto entry = std::make_unique<Entry>(stopping_, leaver.vm, std::move(leaver.notes), *images_, *departures_, lease,
                                       std::move(there), prepared,
                                       helm_.Take(prepared.region, {.mode = request.mode}, 0), patience_);
  const RegionId region = leaver.record.region;
  HECA_RETURN_IF_ERROR(departures_->Begin(std::move(leaver.record)));
  // Last: from here on QEMU must be told otherwise, whatever happens.
  HECA_RETURN_IF_ERROR(leaver.vm->LeaveOutRam(Deadline::After(kQemuPatience)));
  events_.Add(Severity::kInfo, EventKind::kAttached, region, "leaves for '" + request.destination_node + "', led by libvirt");
  Entry* const made = entry.get();
  const std::lock_guard lock(mutex_);
  entries_.push_back(std::move(entry));
  made->thread = std::thread([this, made, region] {
    const auto summary = made->departure.Run(*made);
    if (const Status& restored = made->departure.restored(); !restored.ok()) {
      events_.Add(Severity::kError, EventKind::kAlarm, region,
                  "QEMU keeps x-ignore-shared, and a save would lose its memory: " + restored.ToString());
    }
    if (summary.ok()) {
      std::string how = "has left, its memory too";
      if (summary->rounds > 0 || summary->ahead.value() > 0) {
        how += ", " + FormatSize(summary->ahead) + " of it ahead in " + std::to_string(summary->rounds) + " rounds";
      }
      events_.Add(Severity::kInfo, EventKind::kDetached, region, how);
    } else {
      events_.Add(Severity::kWarning, EventKind::kAttachFailed, region, "migration: " + summary.status().ToString());
    }
    made->over = true;
  });
  return control::Departing{lease, std::move(leaver.blocks)};
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
