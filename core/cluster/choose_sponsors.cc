// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cluster/choose_sponsors.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace heca::cluster {
namespace {

/// The failure domain of a member; a member without one is its own.
std::string DomainOf(const Member& member) {
  return member.config.failure_domain.empty() ? "node " + member.config.name
                                              : "domain " + member.config.failure_domain;
}

/// Why this member cannot serve the wish; empty if it can.
std::string Objection(const Member& member, const SponsorWish& wish) {
  const auto& sizes = member.info.page_sizes;
  if (member.health != Health::kAlive) return std::string(ToString(member.health));
  if (std::find(sizes.begin(), sizes.end(), wish.page_size) == sizes.end()) {
    return "lends no pages of " + std::to_string(wish.page_size.value()) + " bytes";
  }
  if (member.info.free < wish.needed) {
    return "has " + std::to_string(member.info.free.value() >> 20) + " MiB free";
  }
  return "";
}

/// Takes one of `pool` by two choices and removes it, with all others of its failure domain.
Member TakeOne(std::vector<const Member*>& pool, std::mt19937_64& random) {
  // std::uniform_int_distribution differs between libraries; the bias of the remainder is far below noise here.
  std::size_t first = random() % pool.size();
  if (pool.size() > 1) {
    const std::size_t second = (first + 1 + random() % (pool.size() - 1)) % pool.size();
    if (pool[second]->info.free > pool[first]->info.free) first = second;
  }
  const Member chosen = *pool[first];
  std::erase_if(pool, [&](const Member* member) { return DomainOf(*member) == DomainOf(chosen); });
  return chosen;
}

}  // namespace

Result<std::vector<Member>> ChooseSponsors(const std::vector<Member>& candidates, const SponsorWish& wish,
                                           std::mt19937_64& random) {
  std::vector<const Member*> preferred;
  std::vector<const Member*> last_resort;  // in this node's own failure domain
  std::string objections;
  for (const Member& member : candidates) {
    if (const std::string objection = Objection(member, wish); !objection.empty()) {
      objections.append(objections.empty() ? "" : ", ").append(member.config.name).append(" ").append(objection);
      continue;
    }
    const bool own = !wish.own_domain.empty() && member.config.failure_domain == wish.own_domain;
    (own ? last_resort : preferred).push_back(&member);
  }
  const std::size_t usable = preferred.size() + last_resort.size();
  std::vector<Member> chosen;
  while (chosen.size() < wish.count && !(preferred.empty() && last_resort.empty())) {
    chosen.push_back(TakeOne(preferred.empty() ? last_resort : preferred, random));
  }
  if (chosen.size() == wish.count) return chosen;
  std::string text = "no " + std::to_string(wish.count) + " sponsor(s) with " +
                     std::to_string(wish.needed.value() >> 20) + " MiB to lend";
  if (usable >= wish.count) text += " in different failure domains";
  text += candidates.empty() ? ": no peers are configured" : objections.empty() ? "" : ": " + objections;
  return Status(ErrorCode::kResourceExhausted, text + "; free or donate memory, or ask for less", ErrorScope::kReplica);
}

}  // namespace heca::cluster
