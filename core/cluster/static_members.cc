// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cluster/static_members.h"

#include <algorithm>
#include <set>
#include <string>

namespace heca::cluster {

std::string_view ToString(Health health) {
  switch (health) {
    case Health::kInvalid: return "invalid";
    case Health::kUnknown: return "unknown";
    case Health::kAlive: return "alive";
    case Health::kUnreachable: return "unreachable";
    case Health::kMisnamed: return "misnamed";
  }
  return "unknown";
}

std::string_view ToString(Change change) {
  switch (change) {
    case Change::kInvalid: return "invalid";
    case Change::kUp: return "up";
    case Change::kDown: return "down";
    case Change::kRebooted: return "rebooted";
  }
  return "unknown";
}

Result<std::unique_ptr<StaticMembers>> StaticMembers::Create(std::vector<PeerConfig> peers, const OpenSponsor& open,
                                                             OnChange on_change, HeartbeatOptions options) {
  std::unique_ptr<StaticMembers> members(new StaticMembers(std::move(on_change), options));
  std::set<std::string> names;
  for (PeerConfig& config : peers) {
    if (config.name.empty()) {
      return Status(ErrorCode::kInvalidArgument, "the peer at '" + config.endpoint + "' has no name");
    }
    if (!names.insert(config.name).second) {
      return Status(ErrorCode::kInvalidArgument, "two peers are named '" + config.name + "'");
    }
    Result<std::unique_ptr<control::SponsorApi>> sponsor = open(config);
    if (!sponsor.ok()) return sponsor.status().WithContext("peer " + config.name);
    auto peer = std::make_unique<Peer>();
    peer->member.config = std::move(config);
    peer->sponsor = std::move(sponsor).value();
    members->peers_.push_back(std::move(peer));
  }
  for (const auto& peer : members->peers_) {
    peer->heartbeat = std::thread([raw = members.get(), &peer = *peer] { raw->Run(peer); });
  }
  return members;
}

StaticMembers::~StaticMembers() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (const auto& peer : peers_) {
    if (peer->heartbeat.joinable()) peer->heartbeat.join();
  }
}

std::vector<Member> StaticMembers::List() const {
  const std::lock_guard lock(mutex_);
  std::vector<Member> members;
  members.reserve(peers_.size());
  for (const auto& peer : peers_) members.push_back(peer->member);
  return members;
}

std::optional<Member> StaticMembers::Find(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  for (const auto& peer : peers_) {
    if (peer->member.config.name == name) return peer->member;
  }
  return std::nullopt;
}

Result<std::shared_ptr<control::SponsorApi>> StaticMembers::Sponsor(std::string_view name) {
  std::string known;
  for (const auto& peer : peers_) {
    if (peer->member.config.name == name) return peer->sponsor;  // neither changes after Create
    known.append(known.empty() ? "" : ", ").append(peer->member.config.name);
  }
  return Status(ErrorCode::kNotFound, "there is no peer '" + std::string(name) + "' in the configuration; it names " +
                                          (known.empty() ? "none" : known));
}

bool StaticMembers::WaitForFirstRound(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline.when(), [&] {
    return std::none_of(peers_.begin(), peers_.end(),
                        [](const auto& peer) { return peer->member.health == Health::kUnknown; });
  });
}

void StaticMembers::Run(Peer& peer) {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const Clock::time_point next = Clock::now() + options_.period;
    lock.unlock();
    Beat(peer);
    lock.lock();
    changed_.wait_until(lock, next, [&] { return stopping_; });
  }
}

void StaticMembers::Beat(Peer& peer) {
  const Clock::time_point asked = Clock::now();
  const Result<control::SponsorInfo> answer = peer.sponsor->Describe();
  const Nanos rtt = Clock::now() - asked;

  Change news = Change::kInvalid;
  Member after;
  {
    const std::lock_guard lock(mutex_);
    Member& member = peer.member;
    const Health before = member.health;
    if (!answer.ok()) {
      member.trouble = answer.status().ToString();
      // A peer that was never heard is unreachable at once; one that was alive may miss a few.
      if (++peer.misses >= options_.misses_allowed || before == Health::kUnknown) member.health = Health::kUnreachable;
    } else if (answer->node != member.config.name) {
      member.trouble = member.config.endpoint + " is node '" + answer->node + "' and not '" + member.config.name +
                       "': correct the peer's name or endpoint in the configuration";
      member.health = Health::kMisnamed;
    } else {
      peer.misses = 0;
      const bool rebooted = !member.info.boot_id.empty() && member.info.boot_id != answer->boot_id;
      if (rebooted) ++member.reboots;
      member.info = answer.value();
      member.rtt = rtt;
      member.trouble.clear();
      member.health = Health::kAlive;
      news = rebooted ? Change::kRebooted : before != Health::kAlive ? Change::kUp : Change::kInvalid;
    }
    if (member.health != Health::kAlive && member.health != before) news = Change::kDown;
    after = member;
  }
  changed_.notify_all();
  if (news != Change::kInvalid && on_change_) on_change_(news, after);
}

}  // namespace heca::cluster
