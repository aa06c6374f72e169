// SPDX-License-Identifier: LGPL-2.1-or-later
// The inside of a Node: what it is composed of, the regions that it keeps, and the thread that keeps house.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "cluster/static_members.h"
#include "control/migration_api.h"
#include "control/node_types.h"
#include "domain/metadata.h"
#include "node/arrivals.h"
#include "node/crossing.h"
#include "node/departure_log.h"
#include "node/event_log.h"
#include "node/helm.h"
#include "node/host.h"
#include "node/keeper.h"
#include "node/leavers.h"
#include "node/memory_budget.h"
#include "node/node.h"
#include "node/region_record.h"
#include "node/session.h"
#include "node/sponsor_side.h"
#include "node/sponsors.h"
#include "os/cpu_latency.h"

namespace heca::node {

class Node::Impl final : private LeavingRegions {
 public:
  explicit Impl(NodeConfig given);
  ~Impl() override;

  Status Start();
  [[nodiscard]] SessionContext Context() { return {config, boot_id, abilities, events, budget, journal, *sponsors}; }

  using MakeSession = std::function<Result<std::unique_ptr<Session>>()>;
  /// `make` makes the session of a target that nobody else governs or is making one of; it is kept.
  Result<std::shared_ptr<Session>> Make(const AttachTarget& target, const MakeSession& make);
  /// The session of a QEMU that waits for a VM.
  Result<std::shared_ptr<Session>> Receive(const control::PrepareRequest& request);
  /// A VM of this node that libvirt is about to send to another one.
  Result<Leaver> Leave(const control::DepartRequest& request);
  /// The same of any VM; its region leaves with it.
  Result<Leaver> MakeLeaverOf(const AttachTarget& target, const std::string& qmp_socket);
  /// libvirt is about to make a QEMU for a VM that comes.
  void Expect(const std::string& domain);
  /// That was said of it a moment ago; once.
  [[nodiscard]] bool IsExpected(const std::string& domain);
  /// libvirt has started the domain's QEMU, which waits for a VM: asks around who has it, and prepares for it.
  Status Welcome(const control::DomainEvent& event, const domain::HecaMemory& memory);
  /// A failed attach whose lease could not be given back has left a record of it: a keeper sees to it.
  void AdoptLeftLeases();
  /// The name may belong to a newer session already.
  void Forget(const std::shared_ptr<Session>& session);
  [[nodiscard]] Result<std::shared_ptr<Session>> Find(const RegionId& name);
  [[nodiscard]] std::vector<std::shared_ptr<Session>> All();

  const NodeConfig config;
  std::string boot_id;
  unique_fd run_lock;
  os::UffdAbilities abilities;
  EventLog events;
  DepartureLog departure_log;
  const HostFreeMemory host_memory;
  const RegionJournal journal;
  MemoryBudget budget;
  std::unique_ptr<Sponsors> sponsors;
  std::unique_ptr<SponsorSide> owned_sponsor_side;
  std::atomic<SponsorSide*> sponsor_side{nullptr};  ///< the heartbeat thread may look before it is there
  const Clock::time_point started = Clock::now();
  Keeper::Gate gate{Keeper::kAtOnce};
  Arrivals arrivals;
  Helm helm;
  Leavers leavers;
  Crossing crossing{arrivals, leavers};

 private:
  void EndLeave(const RegionId& region, Whereabouts where) override;
  [[nodiscard]] std::shared_ptr<guest::Qmp> MonitorOf(const RegionId& region) override;

  struct Region {
    /// Shared with calls under way: a region may be detached by one caller while another one asks for its statistics.
    std::shared_ptr<Session> session;
    std::unique_ptr<Keeper> keeper;
  };

  /// All at once, each by its keeper.
  Status ResumeAll();
  void OnPeer(cluster::Change change, const cluster::Member& member);
  void KeepHouse();
  /// By the housekeeper only.
  void KeepCpusAwake(bool wanted);
  /// With the lock held.
  std::shared_ptr<Session> Keep(std::shared_ptr<Session> session);
  /// With the lock held: kAlreadyExists or kBusy if somebody governs it or is about to.
  [[nodiscard]] Status CheckFree(const AttachTarget& target) const;

  std::mutex mutex_;  ///< of what follows
  std::condition_variable changed_;
  bool stopping_ = false;
  std::map<RegionId, Region> regions_;
  std::set<RegionId> attaching_;
  std::set<std::int32_t> attaching_pids_;
  std::map<std::string, Clock::time_point> expected_;  ///< domains
  std::thread housekeeper_;
  std::optional<os::CpuLatency> awake_;  ///< the housekeeper's
  bool cannot_stay_awake_ = false;       ///< the same
};

}  // namespace heca::node
