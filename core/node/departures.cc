// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/departures.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "control/migration_client.h"
#include "guest/capture.h"
#include "guest/write_log.h"
#include "os/proc.h"

namespace heca::node {

using control::EventKind;
using control::Severity;
using guest::StreamState;

namespace {

constexpr std::chrono::seconds kQemuPatience{5};
/// For a monitor that two may want.
constexpr std::chrono::seconds kTurn{1};
constexpr Millis kAskEvery{200};
constexpr Millis kLookEvery{10};
constexpr const char* kAskedAgain = "tried again until it has let go of it";
constexpr const char* kRestarted = "the source's hecad was restarted before the switch-over";

bool Lives(const DepartureRecord& record) {
  const auto now = guest::IdentifyProcess(record.pid);
  return now.ok() && *now == guest::ProcessId{record.pid, record.start_time};
}

Result<unique_fd> OpenRam(const DepartureRecord& record, const DepartingBlock& block) {
  if (!block.link.empty()) {
    unique_fd file(::open(block.link.c_str(), O_RDWR | O_CLOEXEC));
    if (file) return file;
  }
  HECA_ASSIGN_OR_RETURN(const auto maps, os::ReadMaps(record.pid));
  for (const auto& mapping : maps) {
    if (mapping.inode == block.inode) return os::OpenMappedFile(record.pid, mapping);
  }
  return Status(ErrorCode::kDataLoss, "the RAM file " + block.path + " is gone", ErrorScope::kRegion);
}

/// The topmost directory that is on the file system of `path`, with a slash at its end.
std::string RootOfFileSystem(const std::string& path) {
  std::filesystem::path best = std::filesystem::path(path).parent_path();
  struct stat file {};
  if (::stat(path.c_str(), &file) != 0) return best.string() + "/";
  for (std::filesystem::path up = best; up != up.root_path();) {
    up = up.parent_path();
    struct stat info {};
    if (::stat(up.c_str(), &info) != 0 || info.st_dev != file.st_dev) break;
    best = up;
  }
  return best.string() + "/";
}

/// At the root of the file's file system: whoever ends the VM removes the file, and libvirt its whole directory. Named long
/// before they are made, so that a crash in between leaves no name that the journal does not know.
void NameLinks(DepartureRecord& record) {
  const std::string id = std::to_string(record.image.lease.key.id.value() & ~store::kImageBit);
  for (std::size_t i = 0; i < record.blocks.size(); ++i) {
    record.blocks[i].link = RootOfFileSystem(record.blocks[i].path) + ".heca-departure-" + id + "-" + std::to_string(i);
  }
}

void MakeLinks(DepartureRecord& record) {
  for (auto& block : record.blocks) {
    struct stat info {};
    const bool same = ::stat(block.path.c_str(), &info) == 0 && info.st_ino == block.inode;
    if (same && (::link(block.path.c_str(), block.link.c_str()) == 0 || errno == EEXIST)) continue;
    block.link.clear();
    Log().warn("{}: {} gets no second name: its memory does not outlive QEMU and hecad together", record.region, block.path);
  }
}

void RemoveLinks(const DepartureRecord& record) {
  for (const auto& block : record.blocks) {
    if (!block.link.empty()) ::unlink(block.link.c_str());
  }
}

}  // namespace

Departures::Departures(std::string directory, store::ImageSponsor& images, LeavingRegions& regions, EventLog& events,
                       DepartureLog& log)
    : journal_(std::move(directory)), images_(images), regions_(regions), events_(events), log_(log) {
  images_.OnTakeOver([this](const store::ImageIdentity& identity) { return NoteOwner(identity); });
}

Departures::~Departures() {
  Stop();
  images_.OnTakeOver(nullptr);
}

void Departures::Stop() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    threads.swap(taken_up_);
  }
  for (auto& thread : threads) thread.join();
}

Status Departures::Resume() {
  HECA_RETURN_IF_ERROR(journal_.Prepare());
  for (auto& record : journal_.ReadAll()) {
    const LeaseId id = record.image.lease.key.id;
    if (record.stage == DepartureStage::kOver) {
      RemoveLinks(record);
      journal_.Erase(id);
      continue;
    }
    control::MigrationInfo info;
    info.destination = record.image.sponsor;
    info.reached.region = record.region;
    info.reached.mode = control::MigrationMode::kPostCopy;
    log_.Begin(record.image.lease, std::move(info));
    if (record.stage == DepartureStage::kOpened) {
      if (const Status lent = LendAgain(record); !lent.ok()) {
        events_.Add(Severity::kError, EventKind::kPagesLost, record.region,
                    "memory of a VM that left cannot be lent any more: " + lent.ToString());
        log_.End(id, migration::Phase::kLost, lent);
      }
    }
    const std::lock_guard lock(mutex_);
    records_[id] = record;
    taken_up_.emplace_back([this, record] { TakeUp(record); });
  }
  return Status();
}

Status Departures::LendAgain(const DepartureRecord& record) {
  std::vector<store::ImageBlock> blocks;
  for (const auto& block : record.blocks) {
    HECA_ASSIGN_OR_RETURN(unique_fd file, OpenRam(record, block));
    HECA_ASSIGN_OR_RETURN(os::RamFile ram, os::RamFile::Create(std::move(file)));
    blocks.push_back({std::move(ram), os::FileOffset(block.offset), Bytes(block.bytes)});
  }
  HECA_RETURN_IF_ERROR(
      images_.OfferAgain(record.region, std::move(blocks), {record.image.lease.key, record.image.claim}).status());
  return images_.OpenImage(record.image.lease.key.id);
}

Status Departures::Begin(DepartureRecord record) {
  NameLinks(record);
  const LeaseId id = record.image.lease.key.id;
  const std::lock_guard lock(mutex_);
  for (const auto& [other, former] : records_) {
    if (other == id || former.pid != record.pid || former.start_time != record.start_time) continue;
    return {ErrorCode::kBusy, "a migration of '" + former.region + "' before this one is not over: try again in some seconds",
            ErrorScope::kRegion};
  }
  HECA_RETURN_IF_ERROR(journal_.Write(record));
  records_[id] = std::move(record);
  return Status();
}

Status Departures::NoteOpened(LeaseId image) {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(image);
  if (found == records_.end()) return {ErrorCode::kNotFound, "no such departure"};
  DepartureRecord record = found->second;
  MakeLinks(record);
  record.stage = DepartureStage::kOpened;
  HECA_RETURN_IF_ERROR(journal_.Write(record));
  found->second = std::move(record);
  return Status();
}

Status Departures::NoteOwner(const store::ImageIdentity& identity) {
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(identity.key.id);
  if (found == records_.end()) return Status();
  DepartureRecord record = found->second;
  record.image.lease.key = identity.key;
  record.image.claim = identity.claim;
  HECA_RETURN_IF_ERROR(journal_.Write(record));
  found->second = std::move(record);
  return Status();
}

void Departures::NoteLeft(LeaseId image) { Note(image, left_, given_back_); }

void Departures::GivenBack(LeaseId image) { Note(image, given_back_, left_); }

void Departures::Note(LeaseId image, std::set<LeaseId>& noted, const std::set<LeaseId>& other) {
  {
    const std::lock_guard lock(mutex_);
    if (!records_.contains(image)) return;
    noted.insert(image);
    if (!other.contains(image)) return;
  }
  Close(image, Whereabouts::kLeft);
}

void Departures::Close(LeaseId image, Whereabouts where) {
  RegionId governed;
  {
    const std::lock_guard lock(mutex_);
    const auto found = records_.find(image);
    if (found != records_.end()) governed = found->second.governed;
  }
  if (!governed.empty()) regions_.EndLeave(governed, where);  // first: without this record nobody would tell it
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(image);
  if (found == records_.end() || kept_.contains(image)) return;
  found->second.stage = DepartureStage::kOver;  // first: else a record without its link would be a loss
  if (const Status noted = journal_.Write(found->second); !noted.ok()) Log().warn("{}", noted.ToString());
  RemoveLinks(found->second);
  journal_.Erase(image);
  records_.erase(found);
  left_.erase(image);
  given_back_.erase(image);
  if (where == Whereabouts::kLeft) log_.GivenBack(image);
}

std::unique_ptr<guest::MigratingVm> Departures::Connect(const DepartureRecord& record, bool& gone) {
  gone = !Lives(record);
  if (gone) return nullptr;
  const bool governed = !record.governed.empty();
  if (governed) {
    if (auto monitor = AwaitMonitor(record.governed)) return std::make_unique<guest::MigratingVm>(std::move(monitor));
  }
  auto qmp = guest::Qmp::Connect(record.qmp_socket, Deadline::After(governed ? kTurn : kQemuPatience));
  if (!qmp.ok()) return nullptr;
  return std::make_unique<guest::MigratingVm>(std::shared_ptr<guest::Qmp>(std::move(*qmp)));
}

std::shared_ptr<guest::Qmp> Departures::AwaitMonitor(const RegionId& region) {
  for (const Deadline turn = Deadline::After(kTurn); !turn.Passed() && !stopping_; std::this_thread::sleep_for(kLookEvery)) {
    auto monitor = regions_.MonitorOf(region);
    if (monitor && monitor->Connected()) return monitor;
  }
  return nullptr;
}

void Departures::TakeUp(const DepartureRecord& record) {
  Log().info("{}: a hecad before this one has left a migration, {}", record.region,
             record.stage == DepartureStage::kOpened ? "at its switch-over or after" : "before its switch-over");
  // Before QEMU is asked anything: its main loop may be waiting for the dead hecad at a page that it writes.
  // Writes of a VM that is governed are noted by its region, whose userfaultfd is all that stands between absent pages and
  // zeros: its Keeper takes it back.
  if (record.governed.empty() && Lives(record)) {
    const Status dissolved = guest::DissolveWriteLogs({record.pid, record.start_time}, Deadline::After(kQemuPatience));
    if (!dissolved.ok()) Log().warn("{}: writes of the VM are still noted: {}", record.region, dissolved.ToString());
  }
  // The destination has not been let go, so the VM cannot run there. First, because QEMU may be sending to one that waits for a
  // page, and hears nobody before that one has ended.
  const bool told = record.stage == DepartureStage::kStreaming && TellCalledOff(record);
  bool arrived = false;
  while (!stopping_ && !Decide(record, told, arrived)) {
    arrived = RunsThere(record);
    if (arrived) break;
    std::this_thread::sleep_for(kAskEvery);
  }
  if (stopping_) return;
  if (arrived) {
    NoteLeft(record.image.lease.key.id);
    events_.Add(Severity::kInfo, EventKind::kRecovered, record.region,
                "the VM has left; its memory is lent until its destination has all of it");
    Follow(record);
  }
}

bool Departures::RunsThere(const DepartureRecord& record) {
  {
    const std::lock_guard lock(mutex_);
    if (!given_back_.contains(record.image.lease.key.id)) return false;
  }
  const auto there = control::MigrationClient::Create({.endpoint = record.image.address});
  if (!there.ok()) return false;
  const auto arrival = (*there)->Look(record.region, record.image.lease.key, 0);
  if (!arrival.ok()) return false;
  return arrival->state == control::ArrivalState::kRunning || arrival->state == control::ArrivalState::kComplete;
}

void Departures::Follow(const DepartureRecord& record) {
  const LeaseId id = record.image.lease.key.id;
  const std::uint64_t total = std::uint64_t{record.image.lease.slots} * record.image.lease.page_size.value();
  const auto there = control::MigrationClient::Create({.endpoint = record.image.address});
  bool last = !there.ok();
  for (; !stopping_ && !last; std::this_thread::sleep_for(kAskEvery)) {
    {
      const std::lock_guard lock(mutex_);
      last = !records_.contains(id);  // once more then: an image is given back too when the VM has died
    }
    const auto arrival = (*there)->Look(record.region, record.image.lease.key, 0);
    if (!arrival.ok()) continue;
    log_.Note(id, *arrival);
    log_.Note(id, control::Progress{std::string(ToString(migration::Phase::kArrived)),
                                    total - std::min(total, arrival->left.value()), total, ""});
    if (arrival->state == control::ArrivalState::kFailed) {
      log_.End(id, migration::Phase::kLost, {ErrorCode::kDataLoss, "the VM died at its destination: " + arrival->trouble});
    }
  }
  log_.Unwatch(id);
}

/// What has changed was told before the switch-over was journaled, so it may be said again, and must be: where libvirt leads,
/// QEMU goes on by itself.
Status Departures::OpenThere(const DepartureRecord& record) {
  HECA_ASSIGN_OR_RETURN(const auto there, control::MigrationClient::Create({.endpoint = record.image.address}));
  return there->Open(record.region, record.image.lease.key);
}

bool Departures::Decide(const DepartureRecord& record, bool told, bool& arrived) {
  bool gone = false;
  const auto vm = Connect(record, gone);
  const bool opened = record.stage == DepartureStage::kOpened;
  if (gone) {
    if (opened && OpenThere(record).retryable()) return false;
    arrived = opened;  // it cannot run here: what the destination has is all there is
    return opened || CallOff(record, nullptr, told);
  }
  if (!vm) return false;
  const auto state = vm->Adopt(record.ran, Deadline::After(kQemuPatience));
  if (!state.ok()) return false;
  const bool has_gone_on = opened && (*state == StreamState::kCompleted || *state == StreamState::kDevice);
  const Status let_go = has_gone_on ? OpenThere(record) : Status();
  if (let_go.retryable()) return false;
  if (opened && *state == StreamState::kCompleted) {
    arrived = true;  // or it was forgotten there since it had arrived
    if (const Status cleared = vm->ClearCapabilities(Deadline::After(kQemuPatience)); !cleared.ok()) {
      Log().warn("{}: {}", record.region, cleared.ToString());
    }
    return true;
  }
  // Where it is not known, or was called off, the QEMU that waited has been ended: it can only run here.
  if (opened && *state == StreamState::kDevice && let_go.ok()) return false;
  const auto back = vm->Cancel(Deadline::After(kQemuPatience));
  // QEMU may wait for a page of a region that is not taken back before this is decided: its word that it failed is enough.
  const bool known = back.ok() || (!record.governed.empty() && vm->Now().state == StreamState::kFailed);
  if (!known) return false;
  if (back.ok() && !*back) {
    if (opened) return false;  // it says completed now: asked once more
    events_.Add(Severity::kError, EventKind::kAlarm, record.region, "the VM was switched over without its memory");
  }
  return CallOff(record, vm.get(), told);
}

bool Departures::TellCalledOff(const DepartureRecord& record) {
  auto there = control::MigrationClient::Create({.endpoint = record.image.address});
  const Status told = there.ok() ? (*there)->Abort(record.region, record.image.lease.key, kRestarted) : there.status();
  if (!told.ok()) Log().info("{}: the destination could not be told: {}", record.region, told.ToString());
  return told.ok();
}

bool Departures::CallOff(const DepartureRecord& record, guest::MigratingVm* vm, bool told) {
  const LeaseId id = record.image.lease.key.id;
  images_.Withdraw(id);
  if (!record.governed.empty()) regions_.EndLeave(record.governed, Whereabouts::kStays);
  if (!told) (void)TellCalledOff(record);
  if (vm != nullptr && !ClearCapabilities(record, *vm)) return false;
  events_.Add(Severity::kWarning, EventKind::kAttachFailed, record.region,
              vm != nullptr ? std::string("a migration was called off, the VM runs here: ") + kRestarted
                            : "the VM's process has ended");
  StaysHere(id, {ErrorCode::kUnavailable, kRestarted});
  return true;
}

bool Departures::ClearCapabilities(const DepartureRecord& record, guest::MigratingVm& vm) {
  const Status cleared = vm.ClearCapabilities(Deadline::After(kQemuPatience));
  if (cleared.ok() || !Lives(record)) return true;
  const std::lock_guard lock(mutex_);
  if (kept_.insert(record.image.lease.key.id).second) TellKept(record.region, kAskedAgain, cleared);
  return false;
}

bool Departures::NoteCleared(LeaseId image, migration::Phase last, const Status& cleared, const Status& why) {
  if (cleared.ok()) return false;
  const bool stays = last == migration::Phase::kAborted;
  const std::lock_guard lock(mutex_);
  const auto found = records_.find(image);
  if (found == records_.end()) return false;
  TellKept(found->second.region, stays ? kAskedAgain : "its VM has left: end it", cleared);
  if (!stays || stopping_) return false;
  kept_.insert(image);
  taken_up_.emplace_back([this, record = found->second, why] { ClearInTheEnd(record, why); });
  return true;
}

void Departures::ClearInTheEnd(const DepartureRecord& record, const Status& why) {
  for (bool done = false; !done; std::this_thread::sleep_for(kAskEvery)) {
    if (stopping_) return;
    bool gone = false;
    const auto vm = Connect(record, gone);
    done = gone || (vm && ClearCapabilities(record, *vm));
  }
  StaysHere(record.image.lease.key.id, why);
}

void Departures::StaysHere(LeaseId image, const Status& why) {
  {
    const std::lock_guard lock(mutex_);
    kept_.erase(image);
  }
  log_.End(image, migration::Phase::kAborted, why);
  Close(image, Whereabouts::kStays);
}

void Departures::TellKept(const RegionId& region, const char* remedy, const Status& cleared) {
  events_.Add(Severity::kError, EventKind::kAlarm, region,
              "QEMU keeps x-ignore-shared, and a save would lose its memory: " + cleared.ToString() + "; " + remedy);
}

}  // namespace heca::node
