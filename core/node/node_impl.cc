// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/node_impl.h"

#include <iterator>
#include <utility>

#include "base/log.h"
#include "node/run_lock.h"

namespace heca::node {

using control::EventKind;
using control::Severity;

namespace {

/// Housekeeping sweeps leases, buries keepers and looks after arrivals this often.
constexpr Millis kTickEvery{50};
/// So long hecad keeps its clients waiting for the first attempt to take regions back.
constexpr std::chrono::seconds kFirstTries{3};

}  // namespace

Node::Impl::Impl(NodeConfig given)
    : config(std::move(given)),
      journal(config.run_dir + "/regions"),
      budget(host_memory),
      arrivals(events, [this](const control::PrepareRequest& request) -> Result<std::shared_ptr<Arriving>> {
        HECA_ASSIGN_OR_RETURN(std::shared_ptr<Arriving> session, Receive(request));
        return session;
      }),
      leavers(events, departure_log, helm, [this](const control::DepartRequest& request) { return Leave(request); }) {}

Node::Impl::~Impl() {
  events.Close();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (housekeeper_.joinable()) housekeeper_.join();
  leavers.Stop();
  if (owned_sponsor_side) owned_sponsor_side->departures().Stop();
  for (auto& [name, region] : regions_) region.keeper->Stop();
  regions_.clear();
}

Status Node::Impl::Start() {
  HECA_ASSIGN_OR_RETURN(boot_id, HostBootId());
  HECA_ASSIGN_OR_RETURN(run_lock, LockDirectory(config.run_dir));
  HECA_RETURN_IF_ERROR(journal.Prepare());
  HECA_ASSIGN_OR_RETURN(
      sponsors, Sponsors::Create(config, [this](auto change, const auto& member) { OnPeer(change, member); }));
  if (config.compute) {
    HECA_ASSIGN_OR_RETURN(abilities, os::ProbeUffd());
    if (config.resume) HECA_RETURN_IF_ERROR(ResumeAll());
  }
  if (config.donate.value() > 0 || config.compute) {
    HECA_ASSIGN_OR_RETURN(auto side, SponsorSide::Start(config, boot_id, *this, events, departure_log));
    leavers.Use(side->images(), side->departures());
    sponsor_side.store(side.get());
    owned_sponsor_side = std::move(side);
  }
  housekeeper_ = std::thread([this] { KeepHouse(); });
  events.Add(Severity::kInfo, EventKind::kStarted, "", "hecad " + config.version + " runs as '" + config.name + "'");
  return Status();
}

Status Node::Impl::ResumeAll() {
  HECA_ASSIGN_OR_RETURN(const auto names, journal.List());
  for (const auto& name : names) {
    if (journal.Read(name).status().code() == ErrorCode::kNotFound) {  // died while it was being erased or made
      (void)journal.Erase(name);
      continue;
    }
    const std::lock_guard lock(mutex_);
    Keep(Session::Recall(Context(), name));
  }
  const Deadline deadline = Deadline::After(kFirstTries);
  for (auto& [name, region] : regions_) (void)region.keeper->WaitForFirstTry(deadline);
  return Status();
}

void Node::Impl::AdoptLeftLeases() {
  const auto names = journal.List();
  if (!names.ok()) return;
  const std::lock_guard lock(mutex_);
  for (const auto& name : *names) {
    if (regions_.contains(name) || attaching_.contains(name)) continue;
    const auto record = journal.Read(name);
    if (record.ok() && record->phase == RecordPhase::kEnding) Keep(Session::Recall(Context(), name));
  }
}

void Node::Impl::OnPeer(cluster::Change change, const cluster::Member& member) {
  const std::string peer = "peer '" + member.config.name + "'";
  switch (change) {
    case cluster::Change::kUp: events.Add(Severity::kInfo, EventKind::kPeerUp, "", peer + " is up"); break;
    case cluster::Change::kDown:
      events.Add(Severity::kWarning, EventKind::kPeerDown, "", peer + " is down: " + member.trouble);
      break;
    case cluster::Change::kRebooted:
      events.Add(Severity::kWarning, EventKind::kPeerRebooted, "", peer + " has rebooted");
      if (auto* side = sponsor_side.load()) side->AnnounceBoot(member.config.name, member.info.boot_id);
      break;
    case cluster::Change::kInvalid: break;
  }
}

void Node::Impl::KeepHouse() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    std::vector<Region> over;
    for (auto at = regions_.begin(); at != regions_.end();) {
      const bool gone = at->second.keeper->over();
      if (gone) over.push_back(std::move(at->second));
      at = gone ? regions_.erase(at) : std::next(at);
    }
    const bool governing = !regions_.empty();
    lock.unlock();
    over.clear();
    KeepCpusAwake(governing);
    if (auto* side = sponsor_side.load()) side->Tick();
    arrivals.Tick();
    leavers.Tick();
    lock.lock();
    changed_.wait_for(lock, kTickEvery);
  }
}

void Node::Impl::KeepCpusAwake(bool wanted) {
  if (!config.cpu_latency || wanted == awake_.has_value()) return;
  awake_.reset();
  if (!wanted || cannot_stay_awake_) return;
  auto request = os::CpuLatency::Request(*config.cpu_latency);
  if (request.ok()) {
    awake_.emplace(std::move(request).value());
  } else {
    cannot_stay_awake_ = true;
    Log().warn("cpu-latency-us is not in force: {}", request.status().ToString());
  }
}

std::shared_ptr<Session> Node::Impl::Keep(std::shared_ptr<Session> session) {
  regions_[session->name()] = Region{session, std::make_unique<Keeper>(session, gate)};
  return session;
}

Status Node::Impl::CheckFree(const AttachTarget& target) const {
  const std::int32_t pid = target.identity.process.pid;
  for (const auto& [name, region] : regions_) {
    if (name == target.region) {
      return {ErrorCode::kAlreadyExists, "a region '" + name + "' exists already; choose another --name"};
    }
    if (region.session->pid() == pid && !region.session->ended()) {
      return {ErrorCode::kAlreadyExists,
              "process " + std::to_string(pid) + " is governed already, as region '" + name + "'"};
    }
  }
  if (attaching_.contains(target.region) || attaching_pids_.contains(pid)) {
    return {ErrorCode::kBusy, "process " + std::to_string(pid) + " is being attached by another call"};
  }
  return {};
}

Result<std::shared_ptr<Session>> Node::Impl::Make(const AttachTarget& target, const MakeSession& make) {
  {
    const std::lock_guard lock(mutex_);
    HECA_RETURN_IF_ERROR(CheckFree(target));
    attaching_.insert(target.region);
    attaching_pids_.insert(target.identity.process.pid);
  }
  auto made = make();
  const std::lock_guard lock(mutex_);
  attaching_.erase(target.region);
  attaching_pids_.erase(target.identity.process.pid);
  if (!made.ok()) return made.status();
  return Keep(std::move(*made));
}

Result<std::shared_ptr<Session>> Node::Impl::Receive(const control::PrepareRequest& request) {
  control::AttachSpec spec;
  spec.region = request.region;
  spec.pid = request.pid;
  spec.domain = request.domain;
  spec.qmp_socket = request.qmp_socket;
  HECA_RETURN_IF_ERROR(CheckSupported(spec, abilities));
  HECA_ASSIGN_OR_RETURN(const AttachTarget target, FindTarget(spec));
  auto session = Make(target, [&] { return Session::Arrive(Context(), target, request); });
  if (!session.ok()) AdoptLeftLeases();
  return session;
}

void Node::Impl::Forget(const std::shared_ptr<Session>& session) {
  Region gone;  // destroyed without the lock
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find(session->name());
  if (found == regions_.end() || found->second.session != session) return;
  gone = std::move(found->second);
  regions_.erase(found);
}

Result<std::shared_ptr<Session>> Node::Impl::Find(const RegionId& name) {
  const std::lock_guard lock(mutex_);
  const auto found = regions_.find(name);
  if (found == regions_.end() || found->second.session->ended()) {
    return Status(ErrorCode::kNotFound, "no region is called '" + name + "'; `hecactl regions` lists them");
  }
  return found->second.session;
}

std::vector<std::shared_ptr<Session>> Node::Impl::All() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Session>> all;
  for (const auto& [name, region] : regions_) all.push_back(region.session);
  return all;
}

}  // namespace heca::node
