// SPDX-License-Identifier: LGPL-2.1-or-later
#include "fault/policy_adaptive.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"

namespace heca::fault {
namespace {

/// Epochs of the arms and generations of births, per limit's worth of placements.
constexpr std::uint64_t kEpochsPerLimit = 16;
constexpr std::uint64_t kGenerationsPerLimit = 8;
/// A page that was away for at most so many epochs (one limit's worth of placements) gains a score.
constexpr std::uint32_t kSoon = 16;
/// From this age on a birth is ancient, so that its code is free before it is used again.
constexpr std::uint32_t kAncientAge = 10;
/// The hand passes the whole table once in so many epochs: stamps and births are renewed before they wrap.
constexpr std::uint64_t kLapEpochs = 6;
/// ... but never more than so many sixteenths of entries for each placement: in a region a hundred times its limit some
/// stamps wrap, which makes the evidence noisier, not wrong.
constexpr std::uint64_t kMaxPace = 64 * 16;
/// An end of a score is made of whole generations that hold at least this part of the limit.
constexpr std::uint64_t kEndShare = 16;
/// At most one victim in so many is taken to learn.
constexpr std::uint64_t kExploreShare = 64;

/// The cheapest arm is preferred to the oldest pages if it costs less than this part of what they cost.
constexpr double kMargin = 0.85;
/// Below this rate (returns per page-epoch) nothing comes back soon, whichever it is: then the youngest page is as good
/// a victim as any, and keeping the others makes a loop visible.
constexpr double kNothing = 0.01;
/// A prefetched page that was evicted before costs this part of a fault: nobody waited, but it was moved.
constexpr double kPrefetchWeight = 0.125;
/// Each of the two leading teams has one chunk in so many.
constexpr std::uint64_t kLots = 16;
/// How many pages each team has is counted in the first 4 GiB of 4 KiB pages and taken for the rest: the lot is a hash, so
/// that the shares there are right to a percent; counting 256 GiB took 150 ms of an attach.
constexpr std::uint64_t kCountedBlocks = (4ULL << 30) / 4096 / kBlockPages;
/// The duel: faults fade by this with every epoch, and the followers leave the oldest alone only if that has fewer faults
/// by a twentieth and by two standard deviations.
constexpr double kDuelFade = 0.97;
constexpr double kDuelMargin = 1.05;
constexpr double kDuelDoubt = 2.0;

constexpr std::uint32_t ScoreOf(std::size_t arm) { return static_cast<std::uint32_t>(arm / 2); }
constexpr bool IsYoungEnd(std::size_t arm) { return arm % 2 != 0; }

}  // namespace

AdaptivePolicy::AdaptivePolicy(const AdaptivePolicyOptions& options)
    : blocks_((options.region_pages.value() + kBlockPages - 1) / kBlockPages),
      random_(options.seed * 0x9E3779B97F4A7C15ULL + 1) {
  HECA_CHECK(blocks_ > 0);
  const std::uint64_t counted = std::min(blocks_, kCountedBlocks);
  for (std::uint64_t chunk = 0; chunk < counted * (kBlockPages / kChunkPages); ++chunk) {
    team_pages_[TeamOf(chunk * kChunkPages)] += kChunkPages;
  }
  for (std::uint64_t& pages : team_pages_) pages = pages * blocks_ / counted;
  SetLimit(options.limit);
}

AdaptivePolicy::Team AdaptivePolicy::TeamOf(std::uint64_t page) {
  const std::uint64_t draw = (page / kChunkPages) * 0x9E3779B97F4A7C15ULL >> 32;
  const std::uint64_t lot = (draw ^ draw >> 16) % kLots;
  return lot == 0 ? kOldestFirst : lot == 1 ? kCheapestFirst : kFollowers;
}

std::uint64_t AdaptivePolicy::TeamMask(std::uint64_t block, Team team) {
  constexpr std::uint64_t kChunk = ~std::uint64_t{0} >> (kBlockPages - kChunkPages);
  std::uint64_t mask = 0;
  for (std::uint64_t chunk = 0; chunk < kBlockPages / kChunkPages; ++chunk) {
    if (TeamOf(block * kBlockPages + chunk * kChunkPages) == team) mask |= kChunk << chunk * kChunkPages;
  }
  return mask;
}

void AdaptivePolicy::SetLimit(PageCount limit) {
  limit_ = std::max<std::uint64_t>(limit.value(), 1);
  const std::uint64_t lap = std::max<std::uint64_t>(limit_ * kLapEpochs / kEpochsPerLimit, 1);
  pace_ = std::clamp<std::uint64_t>(blocks_ * kBlockPages * 16 / lap, 1, kMaxPace);
}

std::uint64_t AdaptivePolicy::Random() {
  random_ ^= random_ << 13;
  random_ ^= random_ >> 7;
  random_ ^= random_ << 17;
  return random_;
}

std::uint32_t AdaptivePolicy::Elapsed(std::uint32_t stamp) const {
  return (arms_.Now() + EvictionArms::kRing - (stamp - 1)) % EvictionArms::kRing;
}

std::uint64_t AdaptivePolicy::EndPages(Team team) const {
  return std::max<std::uint64_t>(limit_ * team_pages_[team] / (blocks_ * kBlockPages) / kEndShare, 1);
}

std::uint32_t AdaptivePolicy::BirthOf(std::uint32_t age) const {
  return age == kGenerations ? kAncient : (generation_ + kGenerations - age) % kGenerations;
}

void AdaptivePolicy::Mark(std::uint32_t score, std::uint32_t birth, Wanted& wanted) {
  wanted[ResidentBits{.score = score, .birth = birth}.Pack()] = true;
  wanted[ResidentBits{.score = score, .birth = birth, .mark = true}.Pack()] = true;
}

std::uint32_t AdaptivePolicy::AgeOf(std::uint32_t birth) const {
  return birth == kAncient ? kGenerations : (generation_ + kGenerations - birth) % kGenerations;
}

std::uint64_t AdaptivePolicy::CountOf(Team team, std::uint32_t score) const {
  std::uint64_t sum = 0;
  for (const std::uint64_t count : counts_[team][score]) sum += count;
  return sum;
}

void AdaptivePolicy::Leave(Team team, ResidentBits page) {
  std::uint64_t& count = counts_[team][page.score][page.birth];
  if (count > 0) --count;
}

void AdaptivePolicy::Tick() {
  behind_ += pace_;
  if (--epoch_left_ == 0) {
    epoch_left_ = std::max<std::uint64_t>(limit_ / kEpochsPerLimit, 1);
    arms_.NextEpoch();
    for (double& faults : faults_) faults *= kDuelFade;
  }
  if (--generation_left_ == 0) {
    generation_left_ = std::max<std::uint64_t>(limit_ / kGenerationsPerLimit, 1);
    generation_ = (generation_ + 1) % kGenerations;
  }
}

PolicyBits AdaptivePolicy::OnPlaced(PageIndex index, PlaceCause cause, PolicyBits bits) {
  Tick();
  ++stats_.placed;
  const AwayBits away = AwayBits::Unpack(bits);
  std::uint32_t score = 0;
  if (away.stamp != 0) {
    const std::uint32_t before = ScoreOf(away.arm);
    const std::uint32_t age = away.stamp == AwayBits::kLongAgo ? AwayBits::kLongAgo : Elapsed(away.stamp);
    const bool waited = cause != PlaceCause::kPrefetch;
    const double weight = waited ? 1.0 : kPrefetchWeight;
    if (waited) ++stats_.refaults;
    arms_.Returned(away.arm, age, weight);
    faults_[TeamOf(index.value())] += weight;
    if (age > EvictionArms::kHorizon) {
      score = before > 0 ? before - 1 : 0;
    } else {
      score = waited && age <= kSoon ? std::min(before + 1, kScores - 1) : before;
    }
  }
  const ResidentBits page{.score = score, .birth = generation_};
  Enter(TeamOf(index.value()), page);
  return page.Pack();
}

PolicyBits AdaptivePolicy::Renew(PageIndex index, ResidentBits page, std::uint32_t score) {
  const Team team = TeamOf(index.value());
  if (!page.chosen) Leave(team, page);
  const ResidentBits renewed{.score = std::min(score, kScores - 1), .birth = generation_};
  Enter(team, renewed);
  return renewed.Pack();
}

PolicyBits AdaptivePolicy::OnWriteSeen(PageIndex index, PolicyBits bits) {
  const ResidentBits page = ResidentBits::Unpack(bits);
  return page.chosen ? bits : Renew(index, page, page.score);
}

PolicyBits AdaptivePolicy::OnCancelled(PageIndex index, PolicyBits bits, bool touched) {
  ResidentBits page = ResidentBits::Unpack(bits);
  if (touched) return Renew(index, page, page.score + 1);
  if (!page.chosen) return bits;
  page.chosen = page.mark = false;
  Enter(TeamOf(index.value()), page);
  return page.Pack();
}

PolicyBits AdaptivePolicy::OnReferenced(PageIndex index, PolicyBits bits) {
  const ResidentBits page = ResidentBits::Unpack(bits);
  return page.chosen ? bits : Renew(index, page, page.score + 1);
}

PolicyBits AdaptivePolicy::OnEvicted(PageIndex index, PolicyBits bits) {
  ++stats_.evicted;
  const ResidentBits page = ResidentBits::Unpack(bits);
  if (!page.chosen) Leave(TeamOf(index.value()), page);
  const std::size_t arm = page.score * 2 + (page.chosen && page.mark ? 1 : 0);
  arms_.Evicted(arm);
  return AwayBits{.arm = static_cast<std::uint32_t>(arm), .stamp = arms_.Now() + 1}.Pack();
}

PolicyBits AdaptivePolicy::OnDiscarded(PageIndex index, PolicyBits bits, bool was_resident) {
  if (was_resident) {
    const ResidentBits page = ResidentBits::Unpack(bits);
    if (!page.chosen) Leave(TeamOf(index.value()), page);
  }
  return kNoPolicyBits;
}

void AdaptivePolicy::Adopt(ResidentView& view) {
  counts_ = {};
  PageBlock block;
  for (std::uint64_t index = 0; index < blocks_; ++index) {
    const PageIndex first(index * kBlockPages);
    view.Load(first, block);
    for (std::uint64_t mask = block.evictable; mask != 0; mask &= mask - 1) {
      const auto bit = static_cast<std::size_t>(std::countr_zero(mask));
      const ResidentBits page{.score = ResidentBits::Unpack(block.bits[bit]).score, .birth = kAncient};
      Enter(TeamOf(first.value() + bit), page);
      view.SetBits(first + bit, page.Pack());
    }
    for (std::uint64_t mask = block.away; mask != 0; mask &= mask - 1) {
      const auto bit = static_cast<std::size_t>(std::countr_zero(mask));
      AwayBits away = AwayBits::Unpack(block.bits[bit]);
      if (away.stamp == 0) continue;
      away.stamp = AwayBits::kLongAgo;
      view.SetBits(first + bit, away.Pack());
    }
  }
}

void AdaptivePolicy::KeepPace(ResidentView& view) {
  PageBlock block;
  for (; behind_ >= kBlockPages * 16; behind_ -= kBlockPages * 16) {
    const PageIndex first(renewed_ * kBlockPages);
    renewed_ = (renewed_ + 1) % blocks_;
    stats_.scanned += kBlockPages;
    view.Load(first, block);
    for (std::uint64_t mask = block.evictable; mask != 0; mask &= mask - 1) {
      const auto bit = static_cast<std::size_t>(std::countr_zero(mask));
      ResidentBits page = ResidentBits::Unpack(block.bits[bit]);
      // A victim that the engine did not claim is an ordinary page again.
      if (page.chosen) {
        view.SetBits(first + bit, OnCancelled(first + bit, block.bits[bit], false));
      } else if (page.birth != kAncient && AgeOf(page.birth) >= kAncientAge) {
        const Team team = TeamOf(first.value() + bit);
        Leave(team, page);
        page.birth = kAncient;
        Enter(team, page);
        view.SetBits(first + bit, page.Pack());
      }
    }
    for (std::uint64_t mask = block.away; mask != 0; mask &= mask - 1) {
      const auto bit = static_cast<std::size_t>(std::countr_zero(mask));
      AwayBits away = AwayBits::Unpack(block.bits[bit]);
      if (away.stamp == 0 || away.stamp == AwayBits::kLongAgo || Elapsed(away.stamp) < EvictionArms::kHorizon) continue;
      away.stamp = AwayBits::kLongAgo;
      view.SetBits(first + bit, away.Pack());
    }
  }
}

void AdaptivePolicy::WantArm(Team team, std::size_t arm, Wanted& wanted) const {
  wanted.fill(false);
  const std::uint32_t score = ScoreOf(arm);
  std::uint64_t found = 0;
  for (std::uint32_t step = 0; step <= kGenerations && found < EndPages(team); ++step) {
    const std::uint32_t birth = BirthOf(IsYoungEnd(arm) ? step : kGenerations - step);
    found += counts_[team][score][birth];
    Mark(score, birth, wanted);
  }
}

double AdaptivePolicy::WantOldest(Team team, Wanted& wanted) const {
  wanted.fill(false);
  std::uint64_t found = 0;
  double cost = 0;
  for (std::uint32_t age = kGenerations + 1; age-- > 0 && found < EndPages(team);) {
    const std::uint32_t birth = BirthOf(age);
    for (std::uint32_t score = 0; score < kScores; ++score) {
      found += counts_[team][score][birth];
      cost += static_cast<double>(counts_[team][score][birth]) * arms_.Rate(score * 2);
      Mark(score, birth, wanted);
    }
  }
  return found == 0 ? 0 : cost / static_cast<double>(found);
}

std::size_t AdaptivePolicy::Take(ResidentView& view, Team team, const Wanted& wanted, bool young,
                                 std::span<PageIndex> out) {
  std::size_t taken = 0;
  PageBlock block;
  std::uint64_t& hand = hands_[team];
  for (std::uint64_t looked = 0; looked <= blocks_ && taken < out.size(); ++looked) {
    const std::uint64_t members = TeamMask(hand, team);
    if (members == 0) {
      hand = (hand + 1) % blocks_;
      continue;
    }
    const PageIndex first(hand * kBlockPages);
    view.Load(first, block);
    stats_.scanned += kBlockPages;
    std::uint64_t mask = block.evictable & members;
    for (; mask != 0 && taken < out.size(); mask &= mask - 1) {
      const auto bit = static_cast<std::size_t>(std::countr_zero(mask));
      if (!wanted[block.bits[bit]]) continue;
      ResidentBits page = ResidentBits::Unpack(block.bits[bit]);
      Leave(team, page);
      page.chosen = true;
      page.mark = young;
      view.SetBits(first + bit, page.Pack());
      out[taken++] = first + bit;
    }
    if (mask == 0) hand = (hand + 1) % blocks_;
  }
  return taken;
}

std::size_t AdaptivePolicy::TakeOldest(ResidentView& view, Team team, std::span<PageIndex> out) {
  Wanted wanted;
  static_cast<void>(WantOldest(team, wanted));
  std::size_t taken = Take(view, team, wanted, false, out);
  if (taken < out.size()) {
    for (std::size_t bits = 0; bits < wanted.size(); ++bits)
      wanted[bits] = !ResidentBits::Unpack(static_cast<PolicyBits>(bits)).chosen;
    taken += Take(view, team, wanted, false, out.subspan(taken));
  }
  return taken;
}

std::size_t AdaptivePolicy::TakeCheapest(ResidentView& view, Team team, std::span<PageIndex> out) {
  Wanted wanted;
  const double oldest_rate = WantOldest(team, wanted);
  // Leave the oldest alone only on evidence.
  last_arm_ = kNoArm;
  double rate = oldest_rate * kMargin;
  if (oldest_rate < kNothing) {
    for (std::size_t arm = 1; arm < EvictionArms::kArms; arm += 2) {
      if (CountOf(team, ScoreOf(arm)) < EndPages(team) || arms_.HighRate(arm) > kNothing) continue;
      last_arm_ = arm;
      break;
    }
  }
  if (last_arm_ == kNoArm) {
    for (std::size_t arm = 0; arm < EvictionArms::kArms; ++arm) {
      if (CountOf(team, ScoreOf(arm)) < EndPages(team) || arms_.HighRate(arm) >= rate) continue;
      last_arm_ = arm;
      rate = arms_.HighRate(arm);
    }
  }
  std::size_t doubtful = kNoArm;
  double doubtful_rate = rate;
  for (std::size_t arm = 0; arm < EvictionArms::kArms; ++arm) {
    if (arm == last_arm_ || CountOf(team, ScoreOf(arm)) < EndPages(team) || arms_.LowRate(arm) >= doubtful_rate) continue;
    doubtful = arm;
    doubtful_rate = arms_.LowRate(arm);
  }
  std::size_t taken = 0;
  if (doubtful != kNoArm) {
    const std::size_t sample = (out.size() + Random() % kExploreShare) / kExploreShare;
    if (sample > 0) {
      WantArm(team, doubtful, wanted);
      taken = Take(view, team, wanted, IsYoungEnd(doubtful), out.first(sample));
      stats_.explored += taken;
    }
  }
  if (last_arm_ != kNoArm) {
    WantArm(team, last_arm_, wanted);
    taken += Take(view, team, wanted, IsYoungEnd(last_arm_), out.subspan(taken));
  }
  return taken + TakeOldest(view, team, out.subspan(taken));
}

std::size_t AdaptivePolicy::NextVictims(ResidentView& view, std::span<PageIndex> out) {
  if (out.empty()) return 0;
  KeepPace(view);
  std::array<std::uint64_t, kTeams> resident{};
  std::uint64_t total = 0;
  for (std::size_t team = 0; team < kTeams; ++team) {
    for (std::uint32_t score = 0; score < kScores; ++score) resident[team] += CountOf(static_cast<Team>(team), score);
    total += resident[team];
  }
  const std::uint64_t left = total - std::min<std::uint64_t>(total, out.size());
  std::size_t taken = 0;
  for (const Team team : {kOldestFirst, kCheapestFirst}) {
    const std::uint64_t target = left * team_pages_[team] / (blocks_ * kBlockPages);
    const std::size_t quota = std::min<std::uint64_t>(resident[team] - std::min(resident[team], target), out.size() - taken);
    const auto part = out.subspan(taken, quota);
    taken += team == kOldestFirst ? TakeOldest(view, team, part) : TakeCheapest(view, team, part);
  }
  const double ours = faults_[kCheapestFirst] * static_cast<double>(team_pages_[kOldestFirst]) /
                      std::max(1.0, static_cast<double>(team_pages_[kCheapestFirst]));
  const bool oldest = ours * kDuelMargin + kDuelDoubt * std::sqrt(faults_[kOldestFirst]) > faults_[kOldestFirst];
  for (const Team team : {kFollowers, kCheapestFirst, kOldestFirst}) {
    if (taken == out.size()) break;
    const auto part = out.subspan(taken);
    taken += oldest || team == kOldestFirst ? TakeOldest(view, team, part) : TakeCheapest(view, team, part);
  }
  if (oldest) last_arm_ = kNoArm;
  std::sort(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(taken));
  stats_.victims += taken;
  for (std::size_t i = 0; i < taken; ++i) {
    if (i == 0 || out[i].value() != out[i - 1].value() + 1) ++stats_.runs;
  }
  return taken;
}

std::size_t AdaptivePolicy::NextProbes(ResidentView&, std::span<PageIndex>) { return 0; }

std::string AdaptivePolicy::Describe() const {
  const std::uint64_t victims = std::max<std::uint64_t>(stats_.victims, 1);
  return "adaptive: victims are the " + std::string(last_arm_ != kNoArm && IsYoungEnd(last_arm_) ? "youngest" : "oldest") +
         (last_arm_ == kNoArm ? " of all" : " of score " + std::to_string(ScoreOf(last_arm_))) + ", " +
         std::to_string(stats_.explored * 100 / victims) + " % explored";
}

}  // namespace heca::fault
