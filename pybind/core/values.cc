// SPDX-License-Identifier: LGPL-2.1-or-later
#include "values.h"

#include <cstdint>
#include <map>
#include <string>

#include "make.h"
#include "specs.h"

namespace py = pybind11;
using namespace py::literals;

namespace heca::binding {
namespace {

template <class Pairs>
py::dict DictOf(const Pairs& pairs) {
  py::dict made;
  for (const auto& [name, value] : pairs) made[py::str(name)] = value;
  return made;
}

py::object BlocktimeOf(const std::optional<control::Blocktime>& blocktime) {
  if (!blocktime) return py::none();
  py::tuple vcpus(blocktime->vcpus.size());
  for (std::size_t i = 0; i < blocktime->vcpus.size(); ++i) vcpus[i] = blocktime->vcpus[i].count();
  return Make("Blocktime", "vcpus_ns"_a = vcpus, "all_vcpus_ns"_a = blocktime->all_vcpus.count(),
              "others_ns"_a = blocktime->others.count());
}

}  // namespace

py::object ToPython(const control::Progress& progress) {
  return Make("Progress", "phase"_a = progress.phase, "done"_a = progress.done, "total"_a = progress.total,
              "text"_a = progress.text);
}

py::object ToPython(const control::NodeInfo& node) {
  return Make("NodeInfo", "name"_a = node.name, "version"_a = node.version, "boot_id"_a = node.boot_id,
              "pid"_a = node.pid, "uptime_ms"_a = node.uptime.count(), "socket"_a = node.local_endpoint,
              "control_endpoint"_a = node.peer_endpoint, "data_endpoints"_a = py::tuple(py::cast(node.data_endpoints)),
              "kernel"_a = DictOf(node.kernel), "donated_bytes"_a = node.donated.value(),
              "lent_bytes"_a = node.lent.value(), "quarantined_bytes"_a = node.quarantined.value(),
              "free_bytes"_a = node.free.value(), "regions"_a = node.regions, "counters"_a = DictOf(node.counters));
}

py::object ToPython(const control::PeerInfo& peer) {
  return Make("PeerInfo", "name"_a = peer.name, "endpoint"_a = peer.endpoint, "failure_domain"_a = peer.failure_domain,
              "health"_a = Word(peer.health), "boot_id"_a = peer.boot_id, "donated_bytes"_a = peer.donated.value(),
              "free_bytes"_a = peer.free.value(), "rtt_ns"_a = peer.rtt.count(),
              "transports"_a = py::tuple(py::cast(peer.transports)), "connections"_a = ToPython(peer.connections),
              "trouble"_a = peer.trouble);
}

py::object ToPython(const control::ConnectionInfo& connection) {
  return Make("ConnectionInfo", "text"_a = connection.text, "role"_a = connection.role, "region"_a = connection.region,
              "lease"_a = connection.lease.value(), "outgoing"_a = connection.outgoing,
              "in_bytes"_a = connection.bytes_in, "out_bytes"_a = connection.bytes_out);
}

py::object ToPython(const control::BlockInfo& block) {
  return Make("BlockInfo", "name"_a = block.name, "path"_a = block.path, "size_bytes"_a = block.size.value());
}

py::object ToPython(const control::StoreInfo& store) {
  return Make("StoreInfo", "sponsor"_a = store.sponsor, "endpoint"_a = store.endpoint, "transport"_a = store.transport,
              "lease"_a = store.lease.value(), "epoch"_a = store.epoch.value(), "state"_a = Word(store.state),
              "reserved_bytes"_a = store.reserved.value(), "used_bytes"_a = store.used.value());
}

py::object ToPython(const control::RegionInfo& region) {
  return Make("RegionInfo", "name"_a = region.name, "state"_a = Word(region.state), "pid"_a = region.pid,
              "domain"_a = region.domain, "size_bytes"_a = region.size.value(),
              "page_size_bytes"_a = region.page_size.value(), "limit_bytes"_a = region.limit.value(),
              "resident_bytes"_a = region.resident.value(), "away_bytes"_a = region.away.value(),
              "lost_bytes"_a = region.lost.value(), "on_loss"_a = Word(region.page_loss),
              "replicas"_a = region.replicas, "blocks"_a = ToPython(region.blocks), "stores"_a = ToPython(region.stores),
              "io_rule"_a = region.io_rule, "capture_stop_ns"_a = region.capture_stop.count(),
              "attached_at"_a = Moment(region.attached_at), "trouble"_a = region.trouble);
}

py::object ToPython(const control::DoctorCheck& check) {
  return Make("DoctorCheck", "name"_a = check.name, "verdict"_a = Word(check.verdict), "what"_a = check.what,
              "remedy"_a = check.remedy);
}

py::object ToPython(const control::Event& event) {
  return Make("Event", "sequence"_a = event.sequence, "time"_a = Moment(event.time),
              "severity"_a = Word(event.severity), "kind"_a = Word(event.kind), "region"_a = event.region,
              "text"_a = event.text, "values"_a = DictOf(event.values));
}

py::object ToPython(const control::LeaseInfo& lease) {
  return Make("LeaseInfo", "id"_a = lease.id.value(), "epoch"_a = lease.epoch.value(), "state"_a = Word(lease.state),
              "owner_node"_a = lease.owner_node, "owner_boot_id"_a = lease.owner_boot_id, "region"_a = lease.region,
              "page_size_bytes"_a = lease.page_size.value(), "reserved_bytes"_a = lease.reserved.value(),
              "written_bytes"_a = lease.written.value(), "time_to_live_ms"_a = lease.time_to_live.count());
}

py::object ToPython(const control::MigrationSummary& summary) {
  return Make("MigrationSummary", "region"_a = summary.region, "mode"_a = Word(summary.mode),
              "total_ms"_a = summary.total.count(), "downtime_ns"_a = summary.downtime.count(),
              "memory_bytes"_a = summary.memory.value(), "moved_bytes"_a = summary.moved.value(),
              "zero_bytes"_a = summary.zero.value(), "ahead_bytes"_a = summary.ahead.value(),
              "rounds"_a = summary.rounds, "faults"_a = summary.faults, "fault_p50_ns"_a = summary.fault_p50.count(),
              "fault_p99_ns"_a = summary.fault_p99.count(), "blocked_ns"_a = summary.blocked.count(),
              "blocktime"_a = BlocktimeOf(summary.blocktime));
}

py::object ToPython(const control::MigrationInfo& migration) {
  return Make("MigrationInfo", "image"_a = migration.image.value(), "domain"_a = migration.domain,
              "destination"_a = migration.destination, "progress"_a = ToPython(migration.progress),
              "started_at"_a = Moment(migration.started), "over"_a = migration.over, "ok"_a = migration.ok,
              "trouble"_a = migration.trouble, "reached"_a = ToPython(migration.reached));
}

void BindWords(py::module_& module) {
  module.def("words", [] {
    std::map<std::string, std::vector<std::string>> words;
    words["OnLoss"] = WordsOf<control::PageLoss>();
    words["TransportChoice"] = WordsOf<TransportChoice>();
    words["LostPages"] = WordsOf<control::LostPages>();
    words["RegionState"] = WordsOf<control::RegionState>();
    words["StoreState"] = WordsOf<control::StoreState>();
    words["Verdict"] = WordsOf<control::Verdict>();
    words["PeerHealth"] = WordsOf<control::PeerHealth>();
    words["Severity"] = WordsOf<control::Severity>();
    words["EventKind"] = WordsOf<control::EventKind>();
    words["LeaseState"] = WordsOf<control::LeaseState>();
    words["MigrationMode"] = WordsOf<control::MigrationMode>();
    words["FaultSource"] = WordsOf<control::FaultSource>();
    words["ErrorScope"] = WordsOf<ErrorScope>();
    return words;
  });
}

}  // namespace heca::binding
