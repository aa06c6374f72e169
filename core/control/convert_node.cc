// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/convert_node.h"

#include "control/convert_enum.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

void ToMessage(const StoreInfo& from, v1::StoreInfo& to) {
  to.set_sponsor(Utf8(from.sponsor));
  to.set_endpoint(Utf8(from.endpoint));
  to.set_transport(Utf8(from.transport));
  to.set_lease(from.lease.value());
  to.set_epoch(from.epoch.value());
  to.set_state(EnumTo<v1::StoreState>(from.state));
  to.set_reserved_bytes(from.reserved.value());
  to.set_used_bytes(from.used.value());
}

StoreInfo FromMessage(const v1::StoreInfo& from) {
  StoreInfo to;
  to.sponsor = from.sponsor();
  to.endpoint = from.endpoint();
  to.transport = from.transport();
  to.lease = LeaseId(from.lease());
  to.epoch = Epoch(from.epoch());
  to.state = EnumFrom(from.state(), StoreState::kLost);
  to.reserved = Bytes(from.reserved_bytes());
  to.used = Bytes(from.used_bytes());
  return to;
}

void AddPair(std::string_view name, std::string_view value, v1::Pair& to) {
  to.set_name(Utf8(name));
  to.set_value(Utf8(value));
}

}  // namespace

void ToMessage(const Progress& from, v1::Progress& to) {
  to.set_phase(Utf8(from.phase));
  to.set_done(from.done);
  to.set_total(from.total);
  to.set_text(Utf8(from.text));
}

Progress FromMessage(const v1::Progress& from) { return {from.phase(), from.done(), from.total(), from.text()}; }

void ToMessage(const RegionInfo& from, v1::RegionInfo& to) {
  to.set_name(Utf8(from.name));
  to.set_state(EnumTo<v1::RegionState>(from.state));
  to.set_pid(from.pid);
  to.set_domain(Utf8(from.domain));
  for (const BlockInfo& block : from.blocks) {
    v1::BlockInfo& made = *to.add_blocks();
    made.set_name(Utf8(block.name));
    made.set_path(Utf8(block.path));
    made.set_size(block.size.value());
  }
  to.set_size(from.size.value());
  to.set_page_size(from.page_size.value());
  to.set_limit_bytes(from.limit.value());
  to.set_resident_bytes(from.resident.value());
  to.set_away_bytes(from.away.value());
  to.set_lost_bytes(from.lost.value());
  to.set_page_loss(EnumTo<v1::PageLoss>(from.page_loss));
  to.set_replicas(from.replicas);
  for (const StoreInfo& store : from.stores) ToMessage(store, *to.add_stores());
  to.set_io_rule(Utf8(from.io_rule));
  to.set_capture_stop_ns(CountOf(from.capture_stop));
  to.set_attached_at_us(MicrosOf(from.attached_at));
  to.set_trouble(Utf8(from.trouble));
}

RegionInfo FromMessage(const v1::RegionInfo& from) {
  RegionInfo to;
  to.name = from.name();
  to.state = EnumFrom(from.state(), RegionState::kLeaving);
  to.pid = from.pid();
  to.domain = from.domain();
  for (const v1::BlockInfo& block : from.blocks()) {
    to.blocks.push_back({block.name(), block.path(), Bytes(block.size())});
  }
  to.size = Bytes(from.size());
  to.page_size = Bytes(from.page_size());
  to.limit = Bytes(from.limit_bytes());
  to.resident = Bytes(from.resident_bytes());
  to.away = Bytes(from.away_bytes());
  to.lost = Bytes(from.lost_bytes());
  to.page_loss = EnumFrom(from.page_loss(), PageLoss::kPoison);
  to.replicas = from.replicas();
  for (const v1::StoreInfo& store : from.stores()) to.stores.push_back(FromMessage(store));
  to.io_rule = from.io_rule();
  to.capture_stop = NanosFrom(from.capture_stop_ns());
  to.attached_at = WallTimeFrom(from.attached_at_us());
  to.trouble = from.trouble();
  return to;
}

void ToMessage(const NodeInfo& from, v1::NodeInfo& to) {
  to.set_name(Utf8(from.name));
  to.set_version(Utf8(from.version));
  to.set_boot_id(Utf8(from.boot_id));
  to.set_pid(from.pid);
  to.set_uptime_ms(CountOf(from.uptime));
  to.set_local_endpoint(Utf8(from.local_endpoint));
  to.set_peer_endpoint(Utf8(from.peer_endpoint));
  for (const std::string& endpoint : from.data_endpoints) to.add_data_endpoints(Utf8(endpoint));
  for (const NamedFact& fact : from.kernel) AddPair(fact.name, fact.value, *to.add_kernel());
  to.set_donated_bytes(from.donated.value());
  to.set_lent_bytes(from.lent.value());
  to.set_quarantined_bytes(from.quarantined.value());
  to.set_free_bytes(from.free.value());
  to.set_regions(from.regions);
  for (const NamedCounter& counter : from.counters) {
    v1::Counter& made = *to.add_counters();
    made.set_name(Utf8(counter.name));
    made.set_value(counter.value);
  }
}

NodeInfo FromMessage(const v1::NodeInfo& from) {
  NodeInfo to;
  to.name = from.name();
  to.version = from.version();
  to.boot_id = from.boot_id();
  to.pid = from.pid();
  to.uptime = MillisFrom(from.uptime_ms());
  to.local_endpoint = from.local_endpoint();
  to.peer_endpoint = from.peer_endpoint();
  to.data_endpoints.assign(from.data_endpoints().begin(), from.data_endpoints().end());
  for (const v1::Pair& fact : from.kernel()) to.kernel.push_back({fact.name(), fact.value()});
  to.donated = Bytes(from.donated_bytes());
  to.lent = Bytes(from.lent_bytes());
  to.quarantined = Bytes(from.quarantined_bytes());
  to.free = Bytes(from.free_bytes());
  to.regions = from.regions();
  for (const v1::Counter& counter : from.counters()) to.counters.push_back({counter.name(), counter.value()});
  return to;
}

void ToMessage(const PeerInfo& from, v1::PeerInfo& to) {
  to.set_name(Utf8(from.name));
  to.set_endpoint(Utf8(from.endpoint));
  to.set_failure_domain(Utf8(from.failure_domain));
  to.set_health(EnumTo<v1::PeerHealth>(from.health));
  to.set_boot_id(Utf8(from.boot_id));
  to.set_donated_bytes(from.donated.value());
  to.set_free_bytes(from.free.value());
  to.set_rtt_ns(CountOf(from.rtt));
  for (const std::string& transport : from.transports) to.add_transports(Utf8(transport));
  for (const ConnectionInfo& connection : from.connections) ToMessage(connection, *to.add_connections());
  to.set_trouble(Utf8(from.trouble));
}

PeerInfo FromMessage(const v1::PeerInfo& from) {
  PeerInfo to;
  to.name = from.name();
  to.endpoint = from.endpoint();
  to.failure_domain = from.failure_domain();
  to.health = EnumFrom(from.health(), PeerHealth::kSelf);
  to.boot_id = from.boot_id();
  to.donated = Bytes(from.donated_bytes());
  to.free = Bytes(from.free_bytes());
  to.rtt = NanosFrom(from.rtt_ns());
  to.transports.assign(from.transports().begin(), from.transports().end());
  for (const v1::Connection& connection : from.connections()) to.connections.push_back(FromMessage(connection));
  to.trouble = from.trouble();
  return to;
}

void ToMessage(const DoctorCheck& from, v1::DoctorCheck& to) {
  to.set_name(Utf8(from.name));
  to.set_verdict(EnumTo<v1::Verdict>(from.verdict));
  to.set_what(Utf8(from.what));
  to.set_remedy(Utf8(from.remedy));
}

DoctorCheck FromMessage(const v1::DoctorCheck& from) {
  return {from.name(), EnumFrom(from.verdict(), Verdict::kFail), from.what(), from.remedy()};
}

void ToMessage(const Event& from, v1::Event& to) {
  to.set_sequence(from.sequence);
  to.set_time_us(MicrosOf(from.time));
  to.set_severity(EnumTo<v1::Severity>(from.severity));
  to.set_kind(EnumTo<v1::EventKind>(from.kind));
  to.set_region(Utf8(from.region));
  to.set_text(Utf8(from.text));
  for (const auto& [name, value] : from.values) AddPair(name, value, *to.add_values());
}

Event FromMessage(const v1::Event& from) {
  Event to;
  to.sequence = from.sequence();
  to.time = WallTimeFrom(from.time_us());
  to.severity = EnumFrom(from.severity(), Severity::kError);
  to.kind = EnumFrom(from.kind(), EventKind::kEarlyFault);
  to.region = from.region();
  to.text = from.text();
  for (const v1::Pair& value : from.values()) to.values.emplace_back(value.name(), value.value());
  return to;
}

void ToMessage(const LeaseInfo& from, v1::LeaseInfo& to) {
  to.set_id(from.id.value());
  to.set_epoch(from.epoch.value());
  to.set_state(EnumTo<v1::LeaseState>(from.state));
  to.set_owner_node(Utf8(from.owner_node));
  to.set_owner_boot_id(Utf8(from.owner_boot_id));
  to.set_region(Utf8(from.region));
  to.set_page_size(from.page_size.value());
  to.set_reserved_bytes(from.reserved.value());
  to.set_written_bytes(from.written.value());
  to.set_time_to_live_ms(CountOf(from.time_to_live));
}

LeaseInfo FromMessage(const v1::LeaseInfo& from) {
  LeaseInfo to;
  to.id = LeaseId(from.id());
  to.epoch = Epoch(from.epoch());
  to.state = EnumFrom(from.state(), LeaseState::kQuarantined);
  to.owner_node = from.owner_node();
  to.owner_boot_id = from.owner_boot_id();
  to.region = from.region();
  to.page_size = Bytes(from.page_size());
  to.reserved = Bytes(from.reserved_bytes());
  to.written = Bytes(from.written_bytes());
  to.time_to_live = MillisFrom(from.time_to_live_ms());
  return to;
}

}  // namespace heca::control
