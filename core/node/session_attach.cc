// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "fault/policy_adaptive.h"
#include "guest/blocks.h"
#include "guest/facts.h"
#include "guest/io_guard.h"
#include "guest/lookup.h"
#include "guest/refusals.h"
#include "node/session.h"

namespace heca::node {
namespace {

/// QEMU answers in milliseconds; this is for a loaded host.
constexpr std::chrono::seconds kGuestPatience{5};

guest::MappingChoice Choice(const control::MappingSelector& selector) {
  guest::MappingChoice choice;
  choice.path = selector.path;
  choice.inode = selector.inode;
  choice.address = selector.address_begin;
  choice.length = selector.address_end - selector.address_begin;
  return choice;
}

/// What the RAM files hold already; blocks may share a file.
Bytes BytesInFiles(const region::RegionMap& map) {
  std::map<std::pair<dev_t, ino_t>, std::uint64_t> files;
  for (const auto& block : map.blocks()) {
    struct stat stat {};
    if (::fstat(block.file.fd(), &stat) == 0) {
      files[{stat.st_dev, stat.st_ino}] = static_cast<std::uint64_t>(stat.st_blocks) * 512;  // unit of stat(2)
    }
  }
  std::uint64_t sum = 0;
  for (const auto& [file, bytes] : files) sum += bytes;
  return Bytes(std::min(sum, map.BytesOf(map.pages().value()).value()));
}

}  // namespace

Result<RegionRecord> Session::NewRecord(const AttachTarget& target, const control::AttachSpec& spec) {
  const guest::GuestIdentity& identity = target.identity;
  RegionRecord record;
  record.phase = RecordPhase::kAttaching;
  record.pid = identity.process.pid;
  record.start_time = identity.process.start_time;
  record.domain = spec.domain;
  record.qmp_socket = spec.qmp_socket.empty() ? identity.qmp_path : spec.qmp_socket;
  record.page_loss = spec.page_loss == control::PageLoss::kInvalid ? control::PageLoss::kWait : spec.page_loss;
  record.transport = spec.transport;
  record.attached_at_s = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  record.name = target.region;
  if (identity.is_qemu && record.qmp_socket.empty()) {
    return Status(ErrorCode::kFailedPrecondition,
                  "QEMU " + std::to_string(record.pid) +
                      " has no QMP socket for hecad; start it with -chardev socket,id=heca,path=...,server=on,wait=off "
                      "-mon chardev=heca,mode=control, or name one with --qmp");
  }
  return record;
}

namespace {

/// A region that could not be taken back after a restart may have pages at its sponsor, and its journal is the only map
/// of them: an attach over it would lose them.
Status RefuseWhatWasLeft(const RegionJournal& journal, const RegionRecord& wanted) {
  HECA_ASSIGN_OR_RETURN(const auto names, journal.List());
  for (const auto& name : names) {
    const auto left = journal.Read(name);
    if (left.status().code() == ErrorCode::kNotFound) continue;  // rubbish: no record
    const bool same_process = left.ok() && left->phase == RecordPhase::kActive && left->pid == wanted.pid &&
                              left->start_time == wanted.start_time;
    if (name != wanted.name && !same_process) continue;
    return Status(ErrorCode::kFailedPrecondition,
                  "region '" + name + "' of a hecad before this one is in the journal and was not taken back" +
                      (same_process ? "; it has the memory of this very process" : "") +
                      ": see `hecactl events` for the reason, mend it and restart hecad with resume = true");
  }
  return Status();
}

}  // namespace

Result<std::unique_ptr<Session>> Session::Attach(const SessionContext& context, const AttachTarget& target,
                                                 const control::AttachSpec& spec, control::ProgressSink& progress) {
  HECA_RETURN_IF_ERROR(context.sponsors.Check(spec.transport));
  HECA_ASSIGN_OR_RETURN(RegionRecord record, NewRecord(target, spec));
  HECA_RETURN_IF_ERROR(RefuseWhatWasLeft(context.journal, record));
  std::unique_ptr<Session> session(new Session(context, std::move(record)));
  const auto step = [&](const char* phase, Status status) {
    if (status.ok() && progress.Cancelled()) status = Status(ErrorCode::kAborted, "attach was called off");
    if (status.ok()) progress.OnProgress({phase, 0, 0, ""});
    return status;
  };
  Status status = step("memory", session->FindMemory(spec));
  if (status.ok()) status = step("reserve", session->ReserveAndConnect(spec));
  if (status.ok()) status = step("capture", session->MakeGuard(session->monitor_));
  if (status.ok()) status = session->CaptureAndStart();
  if (!status.ok()) {
    session->RollBack();
    return status;
  }
  return session;
}

Status Session::FindMemory(const control::AttachSpec& spec) {
  const Deadline deadline = Deadline::After(kGuestPatience);
  if (!record_.qmp_socket.empty()) HECA_RETURN_IF_ERROR(OpenMonitor(deadline));
  const guest::MappingChoice choice = Choice(spec.mapping);
  HECA_ASSIGN_OR_RETURN(const guest::GuestFacts facts, guest::GatherFacts(record_.pid, monitor_.get(), choice, deadline));
  const auto findings = guest::Judge(facts);
  HECA_RETURN_IF_ERROR(guest::ToStatus(findings));
  for (const auto& note : findings) Log().info("{}: {}: {}; {}", name_, note.name, note.detail, note.remedy);

  HECA_ASSIGN_OR_RETURN(auto blocks, monitor_ ? guest::QemuRamBlocks(record_.pid, *monitor_, deadline)
                                                          : guest::ProcessRamBlocks(record_.pid, choice));
  std::vector<region::BlockSpec> specs;
  for (auto& block : blocks) {
    record_.blocks.push_back(
        {block.name, block.path, block.address, block.bytes.value(), block.file_offset, block.inode});
    specs.push_back({os::TargetAddress(block.address), block.bytes, std::move(block.fd),
                     os::FileOffset(block.file_offset)});
  }
  HECA_ASSIGN_OR_RETURN(map_, region::RegionMap::Create(std::move(specs)));
  page_size_ = map_->page_size();
  map_size_ = map_->BytesOf(map_->pages().value());
  record_.page_size = page_size_.value();
  ram_fd_.reset(::dup(map_->blocks().front().file.fd()));

  HECA_RETURN_IF_ERROR(context_.journal.CheckRoom(name_, region::PageTable::FileBytes(map_->pages())));
  resident_at_attach_ = BytesInFiles(*map_);

  Bytes limit = Size();
  if (spec.local_limit) limit = std::min(*spec.local_limit, Size());
  if (spec.ratio) limit = LocalPart({spec.ratio->local, spec.ratio->remote}, Size(), page_size_);
  const Bytes least(std::min(Size().value(), fault::kMinLimit * page_size_.value()));
  if (limit < least) {
    return Status(ErrorCode::kInvalidArgument, "a local size of " + FormatSize(limit) + " is too small for '" + name_ +
                                                   "' (" + FormatSize(Size()) + "): give at least " +
                                                   FormatSize(least));
  }
  record_.limit = limit.value() / page_size_.value() * page_size_.value();
  return Book(Bytes(record_.limit));
}

Status Session::ReserveAndConnect(const control::AttachSpec& spec) {
  control::ReserveRequest request;
  request.owner_node = context_.config.name;
  request.owner_boot_id = context_.boot_id;
  request.region = name_;
  request.page_size = page_size_;
  request.slots = SlotsFor(Bytes(record_.limit));
  HECA_ASSIGN_OR_RETURN(const BorrowedLease borrowed, context_.sponsors.Borrow(spec.sponsors, request, record_.transport));
  return Connect(borrowed.sponsor, borrowed.address, borrowed.lease);
}

Status Session::Connect(const std::string& sponsor, const std::string& address, const control::Lease& lease) {
  record_.lease = {sponsor, address, lease, {}};
  HECA_RETURN_IF_ERROR(Journal());
  making_ = std::make_shared<Governance>();
  HECA_ASSIGN_OR_RETURN(making_->sponsor, Sponsors::Client(record_.lease.address));
  HECA_ASSIGN_OR_RETURN(making_->store,
                        store::RemoteStore::Create(*making_->sponsor, lease, StoreOptions(record_.lease), this));
  return Status();
}

Status Session::MakeGuard(std::shared_ptr<guest::Qmp> monitor) {
  guest::IoGuardOptions options;
  options.grace = context_.config.io_grace;
  HECA_ASSIGN_OR_RETURN(making_->guard, guest::GuestIoGuard::Create(record_.pid, std::move(monitor), options));
  return Status();
}

Status Session::CaptureAndStart() {
  // The table first: whoever finds "active" in the journal finds a table too.
  HECA_ASSIGN_OR_RETURN(region::PageTable table,
                        region::PageTable::Create(context_.journal.TablePath(name_), *map_, TableStoreName()));
  HECA_ASSIGN_OR_RETURN(guest::CapturedUffd captured,
                        guest::CaptureUffd(record_.pid, monitor_.get(), {}, Deadline::After(kGuestPatience)));
  record_.target_fd = captured.target_fd;
  record_.capture_stop_ns = captured.stop.count();
  record_.phase = RecordPhase::kActive;
  HECA_RETURN_IF_ERROR(Journal());
  return StartEngine(std::move(captured), std::move(table), fault::StartMode::kFresh);
}

Status Session::StartEngine(guest::CapturedUffd captured, region::PageTable table, fault::StartMode mode) {
  fault::EngineConfig config;
  config.abilities = context_.abilities;
  config.limit = EngineLimit(Bytes(record_.limit));
  config.min_residence = context_.config.min_residence;
  config.watermark_low = context_.config.watermark_low;
  config.watermark_high = context_.config.watermark_high;
  config.held = came_governed() && (phase() == RecordPhase::kAttaching || phase() == RecordPhase::kArriving);
  config.prefetch = context_.config.prefetch;
  config.max_prefetch = context_.config.prefetch_max;
  if (mode == fault::StartMode::kArrival) config.vcpu_threads = VcpuThreads();
  auto policy = std::make_unique<fault::AdaptivePolicy>(
      fault::AdaptivePolicyOptions{map_->pages(), config.limit, record_.start_time});
  HECA_ASSIGN_OR_RETURN(
      making_->engine,
      fault::RegionEngine::Start({os::Uffd(std::move(captured.uffd)), std::move(captured.pidfd), std::move(*map_),
                                  std::move(table), std::move(policy), making_->pages(), *making_->guard, *this, config},
                                 mode));
  map_.reset();
  Publish(making_);
  state_ = control::RegionState::kActive;
  return Status();
}

void Session::RollBack() {
  if (record_.target_fd >= 0) {  // nothing was evicted: the engine did not start
    if (const Status noted = NoteEnding(); !noted.ok()) Log().warn("{}: {}", name_, noted.ToString());
    (void)guest::CloseUffdInTarget({record_.pid, record_.start_time}, record_.target_fd,
                                   Deadline::After(std::chrono::seconds(2)));
  }
  if (const Status freed = FreeLease(); !freed.ok()) {
    // The sponsor never frees a lease that was opened. Under a name of its own: this one is free for a second try.
    RegionRecord left;
    {
      const std::lock_guard lock(record_mutex_);
      left = record_;
    }
    left.name = fmt::format("{}#{}", left.name, left.lease.lease.key.id.value());
    left.phase = RecordPhase::kEnding;
    left.target_fd = -1;
    const Status written = context_.journal.Write(left);
    Log().warn("{}: the lease is given back later, as region {}: {}{}", name_, left.name, freed.ToString(),
               written.ok() ? "" : "; " + written.ToString());
  }
  if (const Status erased = context_.journal.Erase(name_); !erased.ok()) Log().warn("{}", erased.ToString());
}

store::RemoteOptions Session::StoreOptions(const LeaseRecord& lease) const {
  store::RemoteOptions options;
  options.sponsor = lease.sponsor;
  options.owner_boot_id = context_.boot_id;
  options.dialers = context_.sponsors.dialers(record_.transport);
  return options;
}

std::string Session::TableStoreName() const {
  const std::lock_guard lock(record_mutex_);  // the connector may have heard from the sponsor already
  return "lease " + std::to_string(record_.lease.lease.key.id.value()) + " at " + record_.lease.address;
}

}  // namespace heca::node
