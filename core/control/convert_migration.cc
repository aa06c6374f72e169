// SPDX-License-Identifier: LGPL-2.1-or-later
#include "control/convert_migration.h"

#include <cstdint>
#include <set>
#include <string>
#include <utility>

#include "control/checks.h"
#include "control/convert_enum.h"
#include "control/convert_node.h"
#include "control/convert_sponsor.h"
#include "control/status_map.h"

namespace heca::control {
namespace {

constexpr int kMaxVcpus = 4096;  // more than any machine of QEMU
constexpr std::uint64_t kMaxDowntimeMs = 2'000'000;  // QEMU's own limit
constexpr std::uint64_t kMaxSpanNs = 10ULL * 365 * 24 * 3600 * 1'000'000'000;  // ten years: a peer talks nonsense

Status Invalid(std::string text) { return Status(ErrorCode::kInvalidArgument, std::move(text)); }

/// The VM that a message names, of which it holds one of two.
template <class Message, class Value>
Status TakeVm(const Message& from, Value& to) {
  if (from.has_pid()) {
    if (from.pid() <= 0) return Invalid("pid " + std::to_string(from.pid()) + ": must be greater than 0");
    to.pid = from.pid();
    return Status();
  }
  if (!from.has_domain()) return Invalid("no VM to migrate: give a domain or a pid");
  HECA_RETURN_IF_ERROR(CheckName("domain", from.domain(), false));
  to.domain = from.domain();
  return Status();
}

template <class Value, class Message>
void NameVm(const Value& from, Message& to) {
  if (from.pid != 0) to.set_pid(from.pid);
  if (!from.domain.empty()) to.set_domain(Utf8(from.domain));
}

/// The blocks make up the whole image and nothing else.
template <class Message, class Value>
Status TakeBlocks(const Message& from, Value& to) {
  if (from.blocks_size() < 1 || from.blocks_size() > kMaxRamBlocks) {
    return Invalid(std::to_string(from.blocks_size()) + " RAM blocks: a VM has 1 to 64");
  }
  const std::uint64_t page_size = to.image.page_size.value();
  const std::uint64_t whole = to.image.slots * page_size;  // at most 2^32 slots of 2^30 bytes
  std::uint64_t left = whole;
  std::set<std::string> names;
  for (const v1::RamBlock& block : from.blocks()) {
    HECA_RETURN_IF_ERROR(CheckName("RAM block", block.name(), false));
    if (!names.insert(block.name()).second) return Invalid("RAM block '" + block.name() + "' is there twice");
    if (block.size() == 0 || block.size() % page_size != 0) {
      return Invalid("RAM block '" + block.name() + "' of " + std::to_string(block.size()) +
                     " bytes: must be whole pages of " + std::to_string(page_size));
    }
    if (block.size() > left) return Invalid("RAM blocks larger than their image: " + std::to_string(whole) + " bytes");
    left -= block.size();
    to.blocks.push_back({block.name(), Bytes(block.size())});
  }
  if (left == 0) return Status();
  return Invalid("RAM blocks of " + std::to_string(whole - left) + " bytes in an image of " + std::to_string(whole));
}

template <class Value, class Message>
void GiveBlocks(const Value& from, Message& to) {
  for (const RamBlock& block : from.blocks) {
    v1::RamBlock& made = *to.add_blocks();
    made.set_name(Utf8(block.name));
    made.set_size(block.size.value());
  }
}

/// `make` makes the message's part.
template <class Make>
void GiveGoverned(const std::optional<Governed>& from, const Make& make) {
  if (!from) return;
  v1::Governed& to = *make();
  to.set_sponsor(Utf8(from->sponsor));
  to.set_sponsor_address(Utf8(from->sponsor_address));
  ToMessage(from->lease, *to.mutable_lease());
  to.set_limit_bytes(from->limit.value());
  to.set_page_loss(EnumTo<v1::PageLoss>(from->page_loss));
  to.set_transport(EnumTo<v1::TransportChoice>(from->transport));
}

/// Of a message whose image is known.
template <class Message, class Value>
Status TakeGoverned(const Message& from, Value& to) {
  if (!from.has_governed()) return Status();
  const v1::Governed& message = from.governed();
  HECA_RETURN_IF_ERROR(CheckName("sponsor", message.sponsor(), false));
  HECA_RETURN_IF_ERROR(CheckEndpoint("sponsor's address", message.sponsor_address()));
  Governed governed;
  governed.sponsor = message.sponsor();
  governed.sponsor_address = message.sponsor_address();
  HECA_ASSIGN_OR_RETURN(governed.lease, FromMessage(message.lease()));
  governed.limit = Bytes(message.limit_bytes());
  governed.page_loss = EnumFrom(message.page_loss(), PageLoss::kPoison);
  if (governed.page_loss == PageLoss::kInvalid) return Invalid("what is to happen to lost pages is not known to this hecad");
  HECA_RETURN_IF_ERROR(TakeTransport(message.transport(), governed.transport));
  if (governed.limit.value() == 0) return Invalid("a governed VM without local memory");
  if (governed.lease.page_size != to.image.page_size) return Invalid("a lease whose pages have another size than the image's");
  if (governed.lease.slots > UINT32_MAX - to.image.slots) return Invalid("a lease and an image of too many pages");
  to.governed = std::move(governed);
  return Status();
}

/// Where none is given, `to` stays.
Status TakeMode(v1::MigrationMode from, MigrationMode& to) {
  if (from == v1::MIGRATION_MODE_INVALID) return Status();
  to = EnumFrom(from, MigrationMode::kPreCopy);
  if (to != MigrationMode::kInvalid) return Status();
  return Invalid("migration mode " + std::to_string(from) + " is not known to this hecad");
}

Status TakeGoal(std::uint64_t ms, Millis& to) {
  if (ms == 0 || ms > kMaxDowntimeMs) {
    return Invalid("downtime goal of " + std::to_string(ms) + " ms: must be 1 to " + std::to_string(kMaxDowntimeMs));
  }
  to = MillisFrom(ms);
  return Status();
}

Result<Nanos> NanosOf(std::uint64_t ns) {
  if (ns > kMaxSpanNs) return Invalid("a time of " + std::to_string(ns) + " ns is out of range");
  return NanosFrom(ns);
}

void GiveBlocktime(const std::optional<Blocktime>& from, const auto& mutable_blocktime) {
  if (!from) return;
  v1::Blocktime& to = *mutable_blocktime();
  for (const Nanos waited : from->vcpus) to.add_vcpu_ns(CountOf(waited));
  to.set_all_vcpus_ns(CountOf(from->all_vcpus));
  to.set_others_ns(CountOf(from->others));
}

/// A number that makes no sense is no reason to end a migration: then nothing is known.
std::optional<Blocktime> TakeBlocktime(const v1::Blocktime& from) {
  if (from.vcpu_ns_size() > kMaxVcpus) return std::nullopt;
  bool sane = true;
  const auto take = [&sane](std::uint64_t ns) {
    sane = sane && ns <= kMaxSpanNs;
    return sane ? NanosFrom(ns) : Nanos(0);
  };
  Blocktime to;
  for (const std::uint64_t waited : from.vcpu_ns()) to.vcpus.push_back(take(waited));
  to.all_vcpus = take(from.all_vcpus_ns());
  to.others = take(from.others_ns());
  return sane ? std::optional<Blocktime>(std::move(to)) : std::nullopt;
}

}  // namespace

Status CheckSpec(const MigrateSpec& spec) {
  if ((spec.pid != 0) == !spec.domain.empty()) return Invalid("give either a domain or a pid to migrate");
  return Status();
}

Status CheckTarget(const PrepareRequest& request) {
  if ((request.pid != 0) == !request.domain.empty()) return Invalid("give either a domain or a pid to migrate to");
  return Status();
}

void ToMessage(const MigrateSpec& from, v1::MigrateRequest& to) {
  NameVm(from, to);
  to.set_qmp_socket(Utf8(from.qmp_socket));
  to.set_destination(Utf8(from.destination));
  to.set_destination_pid(from.destination_pid);
  to.set_destination_qmp(Utf8(from.destination_qmp));
  to.set_uri(Utf8(from.uri));
  to.set_mode(EnumTo<v1::MigrationMode>(from.mode));
  to.set_downtime_goal_ms(CountOf(from.downtime_goal));
  to.set_bandwidth_bytes(from.bandwidth);
}

Result<std::vector<PageRun>> FromMessage(const v1::TellRequest& from) {
  if (EnumFrom(from.news(), PageNews::kChanged) == PageNews::kInvalid) {
    return Status(ErrorCode::kInvalidArgument,
                  "news " + std::to_string(from.news()) + " of pages, which this hecad does not know");
  }
  if (from.runs_size() > kMaxRuns) {
    return Status(ErrorCode::kInvalidArgument, std::to_string(from.runs_size()) + " runs of pages at once: at most " +
                                                   std::to_string(kMaxRuns));
  }
  std::vector<PageRun> runs;
  for (const v1::PageRun& run : from.runs()) {
    if (run.pages() == 0 || run.first() > UINT32_MAX || run.pages() > UINT32_MAX) {
      return Status(ErrorCode::kInvalidArgument, "a run of pages is empty or beyond any image");
    }
    runs.push_back({run.first(), run.pages()});
  }
  return runs;
}

Result<Placement> FromMessage(const v1::PlaceRequest& from) {
  if (from.runs_size() > kMaxPlacedRuns) {
    return Status(ErrorCode::kInvalidArgument, std::to_string(from.runs_size()) + " runs of pages at once: at most " +
                                                   std::to_string(kMaxPlacedRuns));
  }
  Placement placement;
  for (const v1::PlacedRun& run : from.runs()) {
    if (run.pages() == 0 || run.first() > UINT32_MAX || run.pages() > UINT32_MAX) {
      return Status(ErrorCode::kInvalidArgument, "a run of pages is empty, or beyond any image or lease");
    }
    placement.runs.push_back({run.first(), run.pages(), Slot(run.slot())});
  }
  placement.complete = from.complete();
  placement.mark = Slot(from.slot_mark());
  placement.pages = from.pages();
  placement.number = from.number();
  return placement;
}

Result<MigrateSpec> FromMessage(const v1::MigrateRequest& from) {
  MigrateSpec to;
  HECA_RETURN_IF_ERROR(TakeVm(from, to));
  HECA_RETURN_IF_ERROR(CheckPath("the QMP socket's path", from.qmp_socket()));
  HECA_RETURN_IF_ERROR(CheckName("destination", from.destination(), false));
  HECA_RETURN_IF_ERROR(CheckPath("the path of the destination's QMP socket", from.destination_qmp()));
  HECA_RETURN_IF_ERROR(CheckMigrationUri(from.uri()));
  if (from.destination_pid() < 0) {
    return Invalid("destination's pid " + std::to_string(from.destination_pid()) + ": must be greater than 0");
  }
  to.qmp_socket = from.qmp_socket();
  to.destination = from.destination();
  to.destination_pid = from.destination_pid();
  to.destination_qmp = from.destination_qmp();
  to.uri = from.uri();
  HECA_RETURN_IF_ERROR(TakeMode(from.mode(), to.mode));
  if (from.has_downtime_goal_ms()) HECA_RETURN_IF_ERROR(TakeGoal(from.downtime_goal_ms(), to.downtime_goal));
  to.bandwidth = from.bandwidth_bytes();
  return to;
}

void ToMessage(const MigrationSummary& from, v1::MigrationSummary& to) {
  to.set_region(Utf8(from.region));
  to.set_mode(EnumTo<v1::MigrationMode>(from.mode));
  to.set_total_ms(CountOf(from.total));
  to.set_downtime_ns(CountOf(from.downtime));
  to.set_memory_bytes(from.memory.value());
  to.set_moved_bytes(from.moved.value());
  to.set_zero_bytes(from.zero.value());
  to.set_faults(from.faults);
  to.set_fault_p50_ns(CountOf(from.fault_p50));
  to.set_fault_p99_ns(CountOf(from.fault_p99));
  to.set_ahead_bytes(from.ahead.value());
  to.set_rounds(from.rounds);
  to.set_blocked_ns(CountOf(from.blocked));
  GiveBlocktime(from.blocktime, [&] { return to.mutable_blocktime(); });
}

MigrationSummary FromMessage(const v1::MigrationSummary& from) {
  MigrationSummary to;
  to.region = from.region();
  to.mode = EnumFrom(from.mode(), MigrationMode::kPreCopy);
  to.total = MillisFrom(from.total_ms());
  to.downtime = NanosFrom(from.downtime_ns());
  to.memory = Bytes(from.memory_bytes());
  to.moved = Bytes(from.moved_bytes());
  to.zero = Bytes(from.zero_bytes());
  to.faults = from.faults();
  to.fault_p50 = NanosFrom(from.fault_p50_ns());
  to.fault_p99 = NanosFrom(from.fault_p99_ns());
  to.ahead = Bytes(from.ahead_bytes());
  to.rounds = from.rounds();
  to.blocked = NanosFrom(from.blocked_ns());
  if (from.has_blocktime()) to.blocktime = TakeBlocktime(from.blocktime());
  return to;
}

void ToMessage(const MigrationInfo& from, v1::MigrationInfo& to) {
  to.set_image(from.image.value());
  to.set_domain(Utf8(from.domain));
  to.set_destination(Utf8(from.destination));
  ToMessage(from.progress, *to.mutable_progress());
  to.set_started_at_us(MicrosOf(from.started));
  to.set_over(from.over);
  to.set_ok(from.ok);
  to.set_trouble(Utf8(from.trouble));
  ToMessage(from.reached, *to.mutable_reached());
}

MigrationInfo FromMessage(const v1::MigrationInfo& from) {
  MigrationInfo to;
  to.image = LeaseId(from.image());
  to.domain = from.domain();
  to.destination = from.destination();
  to.progress = FromMessage(from.progress());
  to.started = WallTimeFrom(from.started_at_us());
  to.over = from.over();
  to.ok = from.ok();
  to.trouble = from.trouble();
  to.reached = FromMessage(from.reached());
  return to;
}

void ToMessage(const SteerSpec& from, v1::SteerRequest& to) {
  to.set_region(Utf8(from.region));
  to.set_switch_now(from.switch_now);
  if (from.bandwidth) to.set_bandwidth_bytes(*from.bandwidth);
  if (from.mode) to.set_mode(EnumTo<v1::MigrationMode>(*from.mode));
  if (from.downtime_goal) to.set_downtime_goal_ms(CountOf(*from.downtime_goal));
}

Result<SteerSpec> FromMessage(const v1::SteerRequest& from) {
  SteerSpec to;
  HECA_RETURN_IF_ERROR(CheckRegionName(from.region()));
  to.region = from.region();
  to.switch_now = from.switch_now();
  if (from.has_bandwidth_bytes()) to.bandwidth = from.bandwidth_bytes();
  MigrationMode mode = MigrationMode::kInvalid;
  HECA_RETURN_IF_ERROR(TakeMode(from.mode(), mode));
  if (mode != MigrationMode::kInvalid) to.mode = mode;
  if (from.has_downtime_goal_ms()) {
    to.downtime_goal.emplace();
    HECA_RETURN_IF_ERROR(TakeGoal(from.downtime_goal_ms(), *to.downtime_goal));
  }
  return to;
}

void ToMessage(const DepartRequest& from, v1::DepartRequest& to) {
  to.set_domain(Utf8(from.domain));
  to.set_uuid(Utf8(from.uuid));
  to.set_destination_node(Utf8(from.destination_node));
  to.set_destination_address(Utf8(from.destination_address));
  to.set_mode(EnumTo<v1::MigrationMode>(from.mode));
}

Result<DepartRequest> FromMessage(const v1::DepartRequest& from) {
  HECA_RETURN_IF_ERROR(CheckName("domain", from.domain(), false));
  HECA_RETURN_IF_ERROR(CheckName("uuid", from.uuid(), false));
  HECA_RETURN_IF_ERROR(CheckName("destination's node name", from.destination_node(), false));
  HECA_RETURN_IF_ERROR(CheckEndpoint("destination's address", from.destination_address()));
  DepartRequest to{from.domain(), from.uuid(), from.destination_node(), from.destination_address()};
  HECA_RETURN_IF_ERROR(TakeMode(from.mode(), to.mode));
  return to;
}

void ToMessage(const Departing& from, v1::Departing& to) {
  ToMessage(from.image, *to.mutable_image());
  GiveBlocks(from, to);
  GiveGoverned(from.governed, [&] { return to.mutable_governed(); });
}

Result<Departing> FromMessage(const v1::Departing& from) {
  Departing to;
  HECA_ASSIGN_OR_RETURN(to.image, FromMessage(from.image()));
  HECA_RETURN_IF_ERROR(TakeBlocks(from, to));
  HECA_RETURN_IF_ERROR(TakeGoverned(from, to));
  return to;
}

void ToMessage(const PrepareRequest& from, v1::PrepareRequest& to) {
  to.set_region(Utf8(from.region));
  to.set_source_node(Utf8(from.source_node));
  to.set_source_address(Utf8(from.source_address));
  ToMessage(from.image, *to.mutable_image());
  GiveBlocks(from, to);
  NameVm(from, to);
  to.set_qmp_socket(Utf8(from.qmp_socket));
  to.set_uri(Utf8(from.uri));
  GiveGoverned(from.governed, [&] { return to.mutable_governed(); });
}

Result<PrepareRequest> FromMessage(const v1::PrepareRequest& from) {
  PrepareRequest to;
  HECA_RETURN_IF_ERROR(CheckRegionName(from.region()));
  HECA_RETURN_IF_ERROR(CheckName("source's node name", from.source_node(), false));
  HECA_RETURN_IF_ERROR(CheckEndpoint("source's address", from.source_address()));
  to.region = from.region();
  to.source_node = from.source_node();
  to.source_address = from.source_address();
  HECA_ASSIGN_OR_RETURN(to.image, FromMessage(from.image()));
  HECA_RETURN_IF_ERROR(TakeBlocks(from, to));
  HECA_RETURN_IF_ERROR(TakeVm(from, to));
  HECA_RETURN_IF_ERROR(CheckPath("the QMP socket's path", from.qmp_socket()));
  HECA_RETURN_IF_ERROR(CheckMigrationUri(from.uri()));
  to.qmp_socket = from.qmp_socket();
  to.uri = from.uri();
  HECA_RETURN_IF_ERROR(TakeGoverned(from, to));
  return to;
}

void ToMessage(const Arrival& from, v1::Arrival& to) {
  to.set_state(EnumTo<v1::ArrivalState>(from.state));
  to.set_left_bytes(from.left.value());
  to.set_moved_bytes(from.moved.value());
  to.set_zero_bytes(from.zero.value());
  to.set_open_to_resume_ns(CountOf(from.open_to_resume));
  to.set_faults(from.faults);
  to.set_fault_p50_ns(CountOf(from.fault_p50));
  to.set_fault_p99_ns(CountOf(from.fault_p99));
  to.set_blocked_ns(CountOf(from.blocked));
  GiveBlocktime(from.blocktime, [&] { return to.mutable_blocktime(); });
  to.set_trouble(PeerText(from.trouble));
}

Result<Arrival> FromMessage(const v1::Arrival& from) {
  Arrival to;
  to.state = EnumFrom(from.state(), ArrivalState::kFailed);
  if (to.state == ArrivalState::kInvalid) {
    return Invalid("an arrival in state " + std::to_string(from.state()) + ", which this hecad does not know");
  }
  to.left = Bytes(from.left_bytes());
  to.moved = Bytes(from.moved_bytes());
  to.zero = Bytes(from.zero_bytes());
  HECA_ASSIGN_OR_RETURN(to.open_to_resume, NanosOf(from.open_to_resume_ns()));
  to.faults = from.faults();
  HECA_ASSIGN_OR_RETURN(to.fault_p50, NanosOf(from.fault_p50_ns()));
  HECA_ASSIGN_OR_RETURN(to.fault_p99, NanosOf(from.fault_p99_ns()));
  HECA_ASSIGN_OR_RETURN(to.blocked, NanosOf(from.blocked_ns()));
  if (from.has_blocktime()) to.blocktime = TakeBlocktime(from.blocktime());
  HECA_RETURN_IF_ERROR(CheckPeerText("an arrival's trouble", from.trouble()));
  to.trouble = from.trouble();
  return to;
}

}  // namespace heca::control
