// SPDX-License-Identifier: LGPL-2.1-or-later
// Members from a list that does not change while hecad runs.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "cluster/members.h"

namespace heca::cluster {

struct HeartbeatOptions {
  Millis period{1'000};
  /// Heartbeats in a row without an answer until a peer is kUnreachable.
  std::uint32_t misses_allowed = 3;
};

/// One thread a peer asks it to Describe itself, once a period; so a peer that hangs delays only its own news. A call
/// ends by its own deadline (SponsorClientOptions::call_timeout); destruction waits for the calls under way.
class StaticMembers final : public Members {
 public:
  /// Refuses empty and repeated names, and endpoints that `open` refuses. `on_change` may be empty.
  static Result<std::unique_ptr<StaticMembers>> Create(std::vector<PeerConfig> peers, const OpenSponsor& open,
                                                       OnChange on_change, HeartbeatOptions options);
  ~StaticMembers() override;

  [[nodiscard]] std::vector<Member> List() const override;
  [[nodiscard]] std::optional<Member> Find(std::string_view name) const override;
  [[nodiscard]] Result<std::shared_ptr<control::SponsorApi>> Sponsor(std::string_view name) override;
  /// Blocks until every peer was asked once, or the deadline passes; returns whether they were. At start, so that a
  /// first choice of sponsors does not find all of them unknown.
  bool WaitForFirstRound(Deadline deadline) const;

 private:
  struct Peer {
    Member member;            // guarded by mutex_
    std::uint32_t misses = 0; // heartbeat thread only
    std::shared_ptr<control::SponsorApi> sponsor;
    std::thread heartbeat;
  };

  StaticMembers(OnChange on_change, HeartbeatOptions options) : on_change_(std::move(on_change)), options_(options) {}
  void Run(Peer& peer);
  void Beat(Peer& peer);

  const OnChange on_change_;
  const HeartbeatOptions options_;
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool stopping_ = false;
  std::vector<std::unique_ptr<Peer>> peers_;  // fixed after Create
};

}  // namespace heca::cluster
