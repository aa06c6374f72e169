// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/json.h"

#include <string>
#include <utility>

#include "cli/text.h"

namespace heca::cli {
namespace {

std::string Word(auto value) { return std::string(ToString(value)); }

Json ToJson(const control::ConnectionInfo& connection) {
  return {{"text", connection.text},          {"role", connection.role},
          {"region", connection.region},      {"lease", connection.lease.value()},
          {"outgoing", connection.outgoing},  {"in_bytes", connection.bytes_in},
          {"out_bytes", connection.bytes_out}};
}

Json ToJson(const control::StoreInfo& store) {
  return {{"sponsor", store.sponsor},
          {"endpoint", store.endpoint},
          {"transport", store.transport},
          {"lease", store.lease.value()},
          {"epoch", store.epoch.value()},
          {"state", Word(store.state)},
          {"reserved_bytes", store.reserved.value()},
          {"used_bytes", store.used.value()}};
}

Json OrNull(const std::optional<double>& value) { return value ? Json(*value) : Json(nullptr); }

/// In whole microseconds.
double InMillis(Nanos span) { return static_cast<double>(span.count() / 1000) / 1000; }

/// What is not known is null.
void AddBlocktime(Json& json, const std::optional<control::Blocktime>& blocktime) {
  Json vcpus = blocktime ? Json::array() : Json(nullptr);
  if (blocktime) {
    for (const Nanos waited : blocktime->vcpus) vcpus.push_back(InMillis(waited));
  }
  json["vcpu_blocked_ms"] = std::move(vcpus);
  json["all_vcpus_blocked_ms"] = blocktime ? Json(InMillis(blocktime->all_vcpus)) : Json(nullptr);
  json["others_blocked_ms"] = blocktime ? Json(InMillis(blocktime->others)) : Json(nullptr);
}

}  // namespace

Json ToJson(const control::NodeInfo& node) {
  Json kernel = Json::object();
  for (const auto& fact : node.kernel) kernel[fact.name] = fact.value;
  Json counters = Json::object();
  for (const auto& counter : node.counters) counters[counter.name] = counter.value;
  return {{"name", node.name},
          {"version", node.version},
          {"boot_id", node.boot_id},
          {"pid", node.pid},
          {"uptime_ms", node.uptime.count()},
          {"socket", node.local_endpoint},
          {"control_endpoint", node.peer_endpoint},
          {"data_endpoints", node.data_endpoints},
          {"kernel", kernel},
          {"donated_bytes", node.donated.value()},
          {"lent_bytes", node.lent.value()},
          {"quarantined_bytes", node.quarantined.value()},
          {"free_bytes", node.free.value()},
          {"regions", node.regions},
          {"counters", counters}};
}

Json ToJson(const control::PeerInfo& peer) {
  Json connections = Json::array();
  for (const auto& connection : peer.connections) connections.push_back(ToJson(connection));
  return {{"name", peer.name},
          {"endpoint", peer.endpoint},
          {"failure_domain", peer.failure_domain},
          {"health", Word(peer.health)},
          {"boot_id", peer.boot_id},
          {"donated_bytes", peer.donated.value()},
          {"free_bytes", peer.free.value()},
          {"rtt_ns", peer.rtt.count()},
          {"transports", peer.transports},
          {"connections", connections},
          {"trouble", peer.trouble}};
}

Json ToJson(const control::RegionInfo& region) {
  Json blocks = Json::array();
  for (const auto& block : region.blocks) {
    blocks.push_back({{"name", block.name}, {"path", block.path}, {"size_bytes", block.size.value()}});
  }
  Json stores = Json::array();
  for (const auto& store : region.stores) stores.push_back(ToJson(store));
  return {{"name", region.name},
          {"state", Word(region.state)},
          {"pid", region.pid},
          {"domain", region.domain},
          {"size_bytes", region.size.value()},
          {"page_size_bytes", region.page_size.value()},
          {"limit_bytes", region.limit.value()},
          {"resident_bytes", region.resident.value()},
          {"away_bytes", region.away.value()},
          {"lost_bytes", region.lost.value()},
          {"on_loss", Word(region.page_loss)},
          {"replicas", region.replicas},
          {"blocks", blocks},
          {"stores", stores},
          {"io_rule", region.io_rule},
          {"capture_stop_ns", region.capture_stop.count()},
          {"attached_at", FormatTime(region.attached_at)},
          {"trouble", region.trouble}};
}

Json ToJson(const control::MigrationSummary& summary) {
  Json json = {{"region", summary.region},
          {"mode", Word(summary.mode)},
          {"total_ms", summary.total.count()},
          {"downtime_ns", summary.downtime.count()},
          {"rounds", summary.rounds},
          {"ahead_bytes", summary.ahead.value()},
          {"memory_bytes", summary.memory.value()},
          {"moved_bytes", summary.moved.value()},
          {"zero_bytes", summary.zero.value()},
          {"faults", summary.faults},
          {"fault_p50_ns", summary.fault_p50.count()},
          {"fault_p99_ns", summary.fault_p99.count()},
          {"blocked_ns", summary.blocked.count()}};
  AddBlocktime(json, summary.blocktime);
  return json;
}

Json ToJson(const control::MigrationInfo& migration) {
  const control::MigrationSummary& reached = migration.reached;
  Json json = {{"region", reached.region},
          {"domain", migration.domain},
          {"destination", migration.destination},
          {"mode", Word(reached.mode)},
          {"phase", migration.progress.phase},
          {"done_bytes", migration.progress.done},
          {"total_bytes", migration.progress.total},
          {"started_at", FormatTime(migration.started)},
          {"elapsed_ms", reached.total.count()},
          {"faults", reached.faults},
          {"fault_p50_ns", reached.fault_p50.count()},
          {"fault_p99_ns", reached.fault_p99.count()},
          {"downtime_ns", reached.downtime.count()},
          {"over", migration.over},
          {"ok", migration.ok},
          {"trouble", migration.trouble},
          {"summary", migration.ok ? ToJson(reached) : Json(nullptr)}};
  AddBlocktime(json, reached.blocktime);
  return json;
}

Json ToJson(const control::LeaseInfo& lease) {
  return {{"id", lease.id.value()},
          {"epoch", lease.epoch.value()},
          {"state", Word(lease.state)},
          {"owner_node", lease.owner_node},
          {"owner_boot_id", lease.owner_boot_id},
          {"region", lease.region},
          {"page_size_bytes", lease.page_size.value()},
          {"reserved_bytes", lease.reserved.value()},
          {"written_bytes", lease.written.value()},
          {"time_to_live_ms", lease.time_to_live.count()}};
}

Json ToJson(const control::DoctorCheck& check) {
  return {
      {"name", check.name}, {"verdict", Word(check.verdict)}, {"what", check.what}, {"remedy", check.remedy}};
}

Json ToJson(const control::Event& event) {
  Json values = Json::object();
  for (const auto& [name, value] : event.values) values[name] = value;
  return {{"sequence", event.sequence},
          {"time", FormatTime(event.time)},
          {"severity", Word(event.severity)},
          {"kind", Word(event.kind)},
          {"region", event.region},
          {"text", event.text},
          {"values", values}};
}

Json ToJson(const RegionRates& rates) {
  Json sources = Json::array();
  for (const SourceRates& source : rates.sources) {
    sources.push_back({{"source", Word(source.source)},
                       {"faults_per_s", source.faults_per_s},
                       {"p50_us", OrNull(source.p50_us)},
                       {"p99_us", OrNull(source.p99_us)}});
  }
  return {{"name", rates.region},
          {"resident_bytes", rates.resident.value()},
          {"limit_bytes", rates.limit.value()},
          {"away_bytes", rates.away.value()},
          {"faults_per_s", rates.faults_per_s},
          {"evictions_per_s", rates.evictions_per_s},
          {"prefetch_per_s", rates.prefetch_per_s},
          {"prefetch_hit_percent", OrNull(rates.prefetch_hit_percent)},
          {"in_bytes_per_s", rates.bytes_in_per_s},
          {"out_bytes_per_s", rates.bytes_out_per_s},
          {"sources", sources}};
}

Json ErrorJson(const Status& status, int exit_code) {
  return {{"error",
           {{"code", Word(status.code())},
            {"scope", Word(status.scope())},
            {"errno", status.sys_errno()},
            {"message", std::string(status.message())},
            {"exit_code", exit_code}}}};
}

}  // namespace heca::cli
