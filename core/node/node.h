// SPDX-License-Identifier: LGPL-2.1-or-later
// One hecad without its process: the composition root. The only room that names concrete classes: it gives the engine
// its store, the store its transport, QEMU its pager, and keeps the journal from which a restarted hecad takes all of
// it back.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/transport_choice.h"
#include "control/migration_api.h"
#include "control/node_api.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::node {

/// A peer of the static list.
struct PeerConfig {
  std::string name;
  std::string address;  ///< of its control plane, HOST:PORT
  std::string failure_domain;
};

/// What a node needs to know; hecad's config (daemon/config.h) explains each value.
struct NodeConfig {
  std::string name;
  std::string failure_domain;
  std::string run_dir;
  bool compute = true;
  bool resume = true;
  std::string socket;          ///< only shown
  std::string control_listen;  ///< only shown
  std::string data_listen;
  TransportChoice transport = TransportChoice::kAuto;
  std::vector<PeerConfig> peers;
  Bytes donate;
  std::string slab_dir;
  Bytes slab_size;
  bool reserve = true;
  std::chrono::seconds lease{60};
  Millis min_residence{5};
  bool prefetch = true;
  std::uint32_t prefetch_max = 256;
  Millis io_grace{1000};
  std::chrono::seconds loss_wait{10};
  std::uint32_t watermark_low = 6;
  std::uint32_t watermark_high = 12;
  std::optional<std::chrono::microseconds> cpu_latency;
  std::string version;
};

/// Thread-safe. Destroying it is a clean stop without detach: regions stay registered, their threads wait for the next
/// hecad, which takes them back from the journal.
class Node final : public control::NodeApi {
 public:
  /// Takes back the regions of the journal, all at once, before it returns (waits 3 s at most: what cannot be taken back
  /// yet is tried again behind it). Fails if another hecad runs on the same run or slab directory, or a port is taken.
  static Result<std::unique_ptr<Node>> Create(NodeConfig config);
  ~Node() override;

  /// What peers may call; nullptr if this node neither donates nor governs.
  [[nodiscard]] control::SponsorApi* sponsor();
  /// The same for VMs that are to come here; nullptr if this node governs none.
  [[nodiscard]] control::MigrationApi* arrivals();

  [[nodiscard]] Result<control::RegionInfo> Attach(const control::AttachSpec& spec,
                                                   control::ProgressSink& progress) override;
  [[nodiscard]] Result<control::RegionInfo> Limit(const RegionId& region, Bytes limit,
                                                  control::ProgressSink& progress) override;
  [[nodiscard]] Status Detach(const RegionId& region, control::ProgressSink& progress) override;
  [[nodiscard]] Status OnDomain(const control::DomainEvent& event) override;
  [[nodiscard]] Result<control::MigrationSummary> Migrate(const control::MigrateSpec& spec,
                                                          control::ProgressSink& progress) override;
  [[nodiscard]] Status Steer(const control::SteerSpec& spec) override;
  [[nodiscard]] Result<std::vector<control::MigrationInfo>> Migrations() override;
  [[nodiscard]] Result<control::RegionInfo> Resolve(const RegionId& region, control::LostPages how) override;
  [[nodiscard]] Result<std::vector<control::RegionInfo>> Regions() override;
  [[nodiscard]] Result<control::RegionInfo> Region(const RegionId& region) override;
  [[nodiscard]] Result<std::vector<control::RegionStats>> Stats(const RegionId& region) override;
  [[nodiscard]] Result<control::NodeInfo> About() override;
  [[nodiscard]] Result<std::vector<control::PeerInfo>> Nodes() override;
  [[nodiscard]] Result<std::vector<control::DoctorCheck>> Doctor() override;
  [[nodiscard]] Status Events(const control::EventQuery& query, control::EventSink& sink) override;
  [[nodiscard]] Result<std::vector<control::LeaseInfo>> Leases() override;
  [[nodiscard]] Status FreeLease(LeaseId lease, bool force) override;

 private:
  class Impl;
  explicit Node(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace heca::node
