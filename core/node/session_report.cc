// SPDX-License-Identifier: LGPL-2.1-or-later
// A session as operators and metrics see it.
#include <algorithm>
#include <utility>

#include "node/session.h"

namespace heca::node {
namespace {

using region::PageState;

control::StoreState StateOf(StoreHealth health) {
  switch (health) {
    case StoreHealth::kGood: return control::StoreState::kGood;
    case StoreHealth::kDisconnected: return control::StoreState::kDisconnected;
    case StoreHealth::kLost: return control::StoreState::kLost;
    case StoreHealth::kInvalid: break;
  }
  return control::StoreState::kInvalid;
}

control::FaultSource SourceOf(std::size_t answer) {
  switch (static_cast<fault::AnswerSource>(answer)) {
    case fault::AnswerSource::kStore: return control::FaultSource::kSponsor;
    case fault::AnswerSource::kWriteBackBuffer: return control::FaultSource::kWriteBackBuffer;
    case fault::AnswerSource::kPrefetched: return control::FaultSource::kPrefetched;
    case fault::AnswerSource::kZero: return control::FaultSource::kZero;
    case fault::AnswerSource::kMinor: return control::FaultSource::kMinor;
    case fault::AnswerSource::kWriteProtect: return control::FaultSource::kWriteProtect;
  }
  return control::FaultSource::kInvalid;
}

std::string_view RoleName(Role role) { return role == Role::kUrgent ? "urgent" : "bulk"; }

}  // namespace

control::RegionInfo Session::Info() const {
  control::RegionInfo info;
  info.name = name_;
  info.state = state_;
  info.resident = Resident();
  info.replicas = 1;
  control::StoreInfo store;
  {
    const std::lock_guard lock(record_mutex_);
    info.size = Size();
    info.page_size = page_size_;
    info.pid = record_.pid;
    info.domain = record_.domain;
    info.page_loss = record_.page_loss;
    info.capture_stop = Nanos(record_.capture_stop_ns);
    info.attached_at = std::chrono::system_clock::from_time_t(record_.attached_at_s);
    for (const auto& block : record_.blocks) info.blocks.push_back({block.name, block.path, Bytes(block.bytes)});
    if (info.state != control::RegionState::kActive) info.trouble = trouble_;
    if (record_.phase == RecordPhase::kAttaching && !early_fault_.empty()) info.trouble = early_fault_;
    info.limit = Bytes(record_.limit);
    store.sponsor = record_.lease.sponsor;
    store.endpoint = record_.lease.address;
    store.lease = record_.lease.lease.key.id;
    store.epoch = record_.lease.lease.key.epoch;
    store.reserved = Bytes(static_cast<std::uint64_t>(record_.lease.lease.slots) * page_size_.value());
  }
  if (const auto governance = Governing()) {
    const fault::EngineStats stats = governance->engine->Stats();
    const auto bytes = [&](std::uint64_t pages) { return Bytes(pages * page_size_.value()); };
    info.io_rule = governance->guard->Describe();
    info.away = bytes(stats.pages.Of(PageState::kAway) + stats.pages.Of(PageState::kPrefetching));
    info.lost = bytes(stats.pages.Of(PageState::kLost) + stats.pages.Of(PageState::kPoisoned));
    store.transport = governance->store->Transport();
    store.used = bytes(stats.slots_used);
    store.state = StateOf(governance->pages().Health());
    if (info.state == control::RegionState::kStalled) {
      info.trouble = lost_pages_ > 0 ? std::to_string(lost_pages_) + " pages are at no sponsor any more"
                                     : "waiting for " + governance->pages().Describe();
    }
  }
  info.stores.push_back(std::move(store));
  return info;
}

control::RegionStats Session::Stats() const {
  control::RegionStats stats;
  stats.region = name_;
  stats.resident = Resident();
  {
    const std::lock_guard lock(record_mutex_);
    stats.page_size = page_size_;
    stats.capture_stop = Nanos(record_.capture_stop_ns);
  }
  stats.vm_stops = vm_stops_;
  const auto governance = Governing();
  if (!governance) return stats;
  stats.io_rule = governance->guard->Describe();
  const fault::EngineStats engine = governance->engine->Stats();
  stats.limit = std::min(Bytes(engine.limit.value() * page_size_.value()), Size());
  stats.pages.zero = engine.pages.Of(PageState::kZero);
  stats.pages.here_clean = engine.pages.clean;
  stats.pages.here_dirty = engine.pages.Of(PageState::kHere) - engine.pages.clean;
  stats.pages.away = engine.pages.Of(PageState::kAway);
  stats.pages.coming = engine.pages.Of(PageState::kComing) + engine.pages.Of(PageState::kPrefetching);
  stats.pages.leaving = engine.pages.Of(PageState::kLeaving);
  stats.pages.dropping = engine.pages.Of(PageState::kDropping);
  stats.pages.cancel = engine.pages.Of(PageState::kCancel);
  for (std::size_t source = 0; source < fault::kAnswerSources; ++source) {
    stats.faults.push_back({SourceOf(source), control::Summarize(engine.latency[source])});
  }
  stats.prefetch_issued = engine.prefetch_issued;
  stats.prefetch_hits = engine.prefetch_hits;
  stats.evictions = engine.evictions;
  stats.clean_drops = engine.clean_drops;
  stats.zero_drops = engine.zero_drops;
  stats.cancels = engine.cancels;
  stats.refaults = engine.refaults;
  stats.waits_for_io = engine.io_waits;
  stats.local_enomem = engine.no_memory;
  stats.alarms = engine.stray_pages + engine.kernel_errors;
  stats.pages_lost = engine.pages_lost;
  const LeaseId lease = governance->store->lease().key.id;
  for (const auto& link : governance->store->Links()) {
    stats.connections.push_back({link.text, std::string(RoleName(link.role)), name_, lease, true, link.bytes_read,
                                 link.bytes_written});
  }
  return stats;
}

}  // namespace heca::node
