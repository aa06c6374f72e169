// SPDX-License-Identifier: LGPL-2.1-or-later
#include "node/node.h"

#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <iterator>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/size.h"
#include "node/doctor.h"
#include "node/event_log.h"
#include "node/host.h"
#include "node/keeper.h"
#include "node/memory_budget.h"
#include "node/region_record.h"
#include "node/session.h"
#include "node/sponsor_side.h"
#include "node/sponsors.h"
#include "os/cpu_latency.h"

namespace heca::node {
namespace {

using control::EventKind;
using control::Severity;

/// Housekeeping sweeps leases and buries keepers this often.
constexpr Millis kTickEvery{50};
/// So long hecad keeps its clients waiting for the first attempt to take regions back.
constexpr std::chrono::seconds kFirstTries{3};

}  // namespace

class Node::Impl {
 public:
  explicit Impl(NodeConfig given) : config(std::move(given)), journal(config.run_dir + "/regions"), budget(host_memory) {}

  ~Impl() {
    events.Close();
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    changed.notify_all();
    if (housekeeper.joinable()) housekeeper.join();
    for (auto& [name, region] : regions) region.keeper->Stop();
    regions.clear();
  }

  Status Start() {
    HECA_ASSIGN_OR_RETURN(boot_id, HostBootId());
    HECA_ASSIGN_OR_RETURN(run_lock, LockDirectory(config.run_dir));
    HECA_RETURN_IF_ERROR(journal.Prepare());
    HECA_ASSIGN_OR_RETURN(sponsors, Sponsors::Create(config, [this](auto change, const auto& member) {
                            OnPeer(change, member);
                          }));
    if (config.compute) {
      HECA_ASSIGN_OR_RETURN(abilities, os::ProbeUffd());
      if (config.resume) HECA_RETURN_IF_ERROR(ResumeAll());
    }
    if (config.donate.value() > 0) {
      HECA_ASSIGN_OR_RETURN(auto side, SponsorSide::Start(config, boot_id, events));
      sponsor_side.store(side.get());
      owned_sponsor_side = std::move(side);
    }
    housekeeper = std::thread([this] { KeepHouse(); });
    events.Add(Severity::kInfo, EventKind::kStarted, "", "hecad " + config.version + " runs as '" + config.name + "'");
    return Status();
  }

  SessionContext Context() {
    return {config, boot_id, abilities, events, budget, journal, *sponsors};
  }

  /// All at once, each by its keeper.
  Status ResumeAll() {
    HECA_ASSIGN_OR_RETURN(const auto names, journal.List());
    for (const auto& name : names) {
      if (journal.Read(name).status().code() == ErrorCode::kNotFound) {  // died while it was being erased or made
        (void)journal.Erase(name);
        continue;
      }
      const std::lock_guard lock(mutex);
      Keep(Session::Recall(Context(), name));
    }
    const Deadline deadline = Deadline::After(kFirstTries);
    for (auto& [name, region] : regions) (void)region.keeper->WaitForFirstTry(deadline);
    return Status();
  }

  /// A failed attach whose lease could not be given back has left a record of it: a keeper sees to it.
  void AdoptLeftLeases() {
    const auto names = journal.List();
    if (!names.ok()) return;
    const std::lock_guard lock(mutex);
    for (const auto& name : *names) {
      if (regions.contains(name) || attaching.contains(name)) continue;
      const auto record = journal.Read(name);
      if (record.ok() && record->phase == RecordPhase::kEnding) Keep(Session::Recall(Context(), name));
    }
  }

  void OnPeer(cluster::Change change, const cluster::Member& member) {
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

  void KeepHouse() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      std::vector<Region> over;
      for (auto at = regions.begin(); at != regions.end();) {
        const bool gone = at->second.keeper->over();
        if (gone) over.push_back(std::move(at->second));
        at = gone ? regions.erase(at) : std::next(at);
      }
      const bool governing = !regions.empty();
      lock.unlock();
      over.clear();
      KeepCpusAwake(governing);
      if (auto* side = sponsor_side.load()) side->Tick();
      lock.lock();
      changed.wait_for(lock, kTickEvery);
    }
  }

  /// By the housekeeper only.
  void KeepCpusAwake(bool wanted) {
    if (!config.cpu_latency || wanted == awake.has_value()) return;
    awake.reset();
    if (!wanted || cannot_stay_awake) return;
    auto request = os::CpuLatency::Request(*config.cpu_latency);
    if (request.ok()) {
      awake.emplace(std::move(request).value());
    } else {
      cannot_stay_awake = true;
      Log().warn("cpu-latency-us is not in force: {}", request.status().ToString());
    }
  }

  /// With the lock held.
  std::shared_ptr<Session> Keep(std::shared_ptr<Session> session) {
    regions[session->name()] = Region{session, std::make_unique<Keeper>(session, gate)};
    return session;
  }

  /// The name may belong to a newer session already.
  void Forget(const std::shared_ptr<Session>& session) {
    Region gone;  // destroyed without the lock
    const std::lock_guard lock(mutex);
    const auto found = regions.find(session->name());
    if (found == regions.end() || found->second.session != session) return;
    gone = std::move(found->second);
    regions.erase(found);
  }

  Result<std::shared_ptr<Session>> Find(const RegionId& name) {
    const std::lock_guard lock(mutex);
    const auto found = regions.find(name);
    if (found == regions.end() || found->second.session->ended()) {
      return Status(ErrorCode::kNotFound, "no region is called '" + name + "'; `hecactl regions` lists them");
    }
    return found->second.session;
  }

  std::vector<std::shared_ptr<Session>> All() {
    const std::lock_guard lock(mutex);
    std::vector<std::shared_ptr<Session>> all;
    for (const auto& [name, region] : regions) all.push_back(region.session);
    return all;
  }

  const NodeConfig config;
  std::string boot_id;
  unique_fd run_lock;
  os::UffdAbilities abilities;
  EventLog events;
  const HostFreeMemory host_memory;
  const RegionJournal journal;
  MemoryBudget budget;
  std::unique_ptr<Sponsors> sponsors;
  std::unique_ptr<SponsorSide> owned_sponsor_side;
  std::atomic<SponsorSide*> sponsor_side{nullptr};  ///< the heartbeat thread may look before it is there
  const Clock::time_point started = Clock::now();
  Keeper::Gate gate{Keeper::kAtOnce};

  std::mutex mutex;  ///< of what follows
  std::condition_variable changed;
  bool stopping = false;
  struct Region {
    /// Shared with calls under way: a region may be detached by one caller while another one asks for its statistics.
    std::shared_ptr<Session> session;
    std::unique_ptr<Keeper> keeper;
  };
  std::map<RegionId, Region> regions;
  std::set<RegionId> attaching;
  std::set<std::int32_t> attaching_pids;
  std::thread housekeeper;
  std::optional<os::CpuLatency> awake;  ///< the housekeeper's
  bool cannot_stay_awake = false;       ///< the same
};

Node::Node(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Node::~Node() = default;

Result<std::unique_ptr<Node>> Node::Create(NodeConfig config) {
  auto impl = std::make_unique<Impl>(std::move(config));
  HECA_RETURN_IF_ERROR(impl->Start());
  return std::unique_ptr<Node>(new Node(std::move(impl)));
}

control::SponsorApi* Node::sponsor() {
  auto* side = impl_->sponsor_side.load();
  return side != nullptr ? &side->api() : nullptr;
}

Result<control::RegionInfo> Node::Attach(const control::AttachSpec& spec, control::ProgressSink& progress) {
  if (!impl_->config.compute) {
    return Status(ErrorCode::kFailedPrecondition, "this hecad only lends memory; set compute = true to govern VMs");
  }
  HECA_RETURN_IF_ERROR(CheckSupported(spec, impl_->abilities));
  HECA_ASSIGN_OR_RETURN(const AttachTarget target, FindTarget(spec));
  const std::int32_t pid = target.identity.process.pid;
  {
    const std::lock_guard lock(impl_->mutex);
    for (const auto& [name, region] : impl_->regions) {
      if (name == target.region) {
        return Status(ErrorCode::kAlreadyExists, "a region '" + name + "' exists already; choose another --name");
      }
      if (region.session->pid() == pid && !region.session->ended()) {
        return Status(ErrorCode::kAlreadyExists, "process " + std::to_string(pid) +
                                                     " is governed already, as region '" + name + "'");
      }
    }
    if (impl_->attaching.contains(target.region) || impl_->attaching_pids.contains(pid)) {
      return Status(ErrorCode::kBusy, "process " + std::to_string(pid) + " is being attached by another call");
    }
    impl_->attaching.insert(target.region);
    impl_->attaching_pids.insert(pid);
  }
  auto made = Session::Attach(impl_->Context(), target, spec, progress);
  std::shared_ptr<Session> session;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->attaching.erase(target.region);
    impl_->attaching_pids.erase(pid);
    if (made.ok()) session = impl_->Keep(std::move(*made));
  }
  if (!session) {
    impl_->events.Add(Severity::kWarning, EventKind::kAttachFailed, target.region, made.status().ToString());
    impl_->AdoptLeftLeases();
    return made.status();
  }
  const control::RegionInfo info = session->Info();
  impl_->events.Add(Severity::kInfo, EventKind::kAttached, target.region,
                    FormatSize(info.size) + " of process " + std::to_string(info.pid) + ", " + FormatSize(info.limit) +
                        " local, the rest at " + info.stores.front().sponsor + "; I/O rule: " + info.io_rule);
  if (const Status reached = session->WaitForLimit(progress);
      !reached.ok() && reached.code() != ErrorCode::kAborted) {
    return reached;
  }
  return session->Info();
}

Result<control::RegionInfo> Node::Limit(const RegionId& region, Bytes limit, control::ProgressSink& progress) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  HECA_RETURN_IF_ERROR(session->Limit(limit, progress));
  return session->Info();
}

Status Node::Detach(const RegionId& region, control::ProgressSink& progress) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  HECA_RETURN_IF_ERROR(session->Detach(progress));
  // The guest is free; what is left is to give the lease back. If the sponsor is out of reach, the keeper goes on.
  if (const Status ended = session->End(); !ended.ok()) {
    Log().warn("{}: detached; its lease is given back later: {}", region, ended.ToString());
    return Status();
  }
  impl_->Forget(session);
  return Status();
}

Result<control::RegionInfo> Node::Resolve(const RegionId& region, control::LostPages how) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  HECA_RETURN_IF_ERROR(session->Resolve(how));
  return session->Info();
}

Result<std::vector<control::RegionInfo>> Node::Regions() {
  std::vector<control::RegionInfo> infos;
  for (const auto& session : impl_->All()) infos.push_back(session->Info());
  return infos;
}

Result<control::RegionInfo> Node::Region(const RegionId& region) {
  HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
  return session->Info();
}

Result<std::vector<control::RegionStats>> Node::Stats(const RegionId& region) {
  std::vector<control::RegionStats> stats;
  if (!region.empty()) {
    HECA_ASSIGN_OR_RETURN(const auto session, impl_->Find(region));
    stats.push_back(session->Stats());
    return stats;
  }
  for (const auto& session : impl_->All()) stats.push_back(session->Stats());
  return stats;
}

Result<control::NodeInfo> Node::About() {
  control::NodeInfo info;
  info.name = impl_->config.name;
  info.version = impl_->config.version;
  info.boot_id = impl_->boot_id;
  info.pid = ::getpid();
  info.uptime = std::chrono::duration_cast<Millis>(Clock::now() - impl_->started);
  info.local_endpoint = impl_->config.socket;
  info.kernel = KernelFacts(impl_->abilities);
  if (auto* side = impl_->sponsor_side.load()) {
    info.peer_endpoint = impl_->config.control_listen;
    HECA_RETURN_IF_ERROR(side->Describe(info));
  }
  info.regions = static_cast<std::uint32_t>(impl_->All().size());
  return info;
}

Result<std::vector<control::PeerInfo>> Node::Nodes() {
  control::PeerInfo self;
  HECA_ASSIGN_OR_RETURN(const control::NodeInfo about, About());
  self.name = about.name;
  self.endpoint = about.peer_endpoint;
  self.failure_domain = impl_->config.failure_domain;
  self.health = control::PeerHealth::kSelf;
  self.boot_id = about.boot_id;
  self.donated = about.donated;
  self.free = about.free;
  if (auto* side = impl_->sponsor_side.load()) self.connections = side->Connections();
  std::vector<control::PeerInfo> nodes{std::move(self)};
  for (auto& peer : impl_->sponsors->Peers()) {
    for (const auto& session : impl_->All()) {
      if (session->Info().stores.front().endpoint != peer.endpoint) continue;
      for (auto& connection : session->Stats().connections) peer.connections.push_back(std::move(connection));
    }
    nodes.push_back(std::move(peer));
  }
  return nodes;
}

Result<std::vector<control::DoctorCheck>> Node::Doctor() {
  std::vector<control::RegionInfo> regions;
  for (const auto& session : impl_->All()) regions.push_back(session->Info());
  return Examine({impl_->config, impl_->abilities, impl_->sponsors->Peers(), regions});
}

Status Node::Events(const control::EventQuery& query, control::EventSink& sink) {
  return impl_->events.Deliver(query, sink);
}

Result<std::vector<control::LeaseInfo>> Node::Leases() {
  auto* side = impl_->sponsor_side.load();
  return side != nullptr ? side->Leases() : std::vector<control::LeaseInfo>();
}

Status Node::FreeLease(LeaseId lease, bool force) {
  auto* side = impl_->sponsor_side.load();
  if (side == nullptr) return Status(ErrorCode::kFailedPrecondition, "this hecad lends no memory");
  return side->FreeLease(lease, force);
}

}  // namespace heca::node
