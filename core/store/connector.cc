// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store/connector.h"

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/log.h"

namespace heca::store {
namespace {

constexpr Millis kLongestNap{1'000};

}  // namespace

Result<std::unique_ptr<Connector>> Connector::Create(control::SponsorApi& sponsor, control::Lease lease,
                                                     std::optional<control::TakeOverRequest> take_over,
                                                     RemoteOptions options, StoreObserver* observer) {
  unique_fd wake(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake) return Status::FromErrno(errno, "eventfd");
  std::unique_ptr<Connector> connector(new Connector(sponsor, std::move(lease), std::move(take_over),
                                                     std::move(options), observer, std::move(wake)));
  connector->thread_ = std::thread([self = connector.get()] { self->Run(); });
  return connector;
}

Connector::Connector(control::SponsorApi& sponsor, control::Lease lease,
                     std::optional<control::TakeOverRequest> take_over, RemoteOptions options,
                     StoreObserver* observer, unique_fd wake)
    : sponsor_(sponsor),
      options_(std::move(options)),
      observer_(observer),
      wake_(std::move(wake)),
      lease_(std::move(lease)),
      held_(options_.hold),
      health_(take_over || held_ ? StoreHealth::kDisconnected : StoreHealth::kGood),
      take_over_(std::move(take_over)),
      next_renew_(Clock::now() + lease_.time_to_live / 3) {}

Connector::~Connector() {
  stop_.store(true, std::memory_order_release);
  static_cast<void>(::eventfd_write(wake_.get(), 1));
  if (thread_.joinable()) thread_.join();
}

Result<std::shared_ptr<Link>> Connector::Open(Role role) {
  const std::lock_guard lock(mutex_);
  HECA_ASSIGN_OR_RETURN(auto link, Link::Create({role, next_stream_}, wake_.get()));
  ++next_stream_;
  opened_.push_back(link);
  if (!terminal_.ok()) link->End(terminal_);
  static_cast<void>(::eventfd_write(wake_.get(), 1));
  return link;
}

void Connector::Begin(const control::TakeOverRequest& take_over) {
  {
    const std::lock_guard lock(mutex_);
    held_ = false;
    begun_ = take_over;
  }
  static_cast<void>(::eventfd_write(wake_.get(), 1));
}

bool Connector::Held() {
  const std::lock_guard lock(mutex_);
  if (begun_) take_over_ = std::exchange(begun_, std::nullopt);
  return held_;
}

void Connector::Shut(const Status& why) {
  EndLinks(why);
  static_cast<void>(::eventfd_write(wake_.get(), 1));
}

void Connector::EndLinks(const Status& why) {
  const std::lock_guard lock(mutex_);
  if (terminal_.ok()) terminal_ = why;
  for (const auto& link : opened_) link->End(terminal_);
}

void Connector::Learn(const control::Lease& lease) {
  const std::lock_guard lock(mutex_);
  if (lease.key.epoch < lease_.key.epoch) return;
  const auto slots = std::max(lease_.slots, lease.slots);
  lease_ = lease;
  lease_.slots = slots;
}

control::Lease Connector::lease() const {
  const std::lock_guard lock(mutex_);
  return lease_;
}

Status Connector::trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

void Connector::Note(const Status& trouble) {
  const std::lock_guard lock(mutex_);
  trouble_ = trouble;
}

Status Connector::terminal() const {
  const std::lock_guard lock(mutex_);
  return terminal_;
}

std::vector<LinkInfo> Connector::Links() const {
  const std::lock_guard lock(mutex_);
  std::vector<LinkInfo> infos;
  for (const auto& link : opened_) infos.push_back(link->Info());
  return infos;
}

void Connector::Run() {
  while (!stop_.load(std::memory_order_acquire)) {
    const auto next = Work(Clock::now());
    TellHealth();
    const auto nap = std::clamp(std::chrono::ceil<Millis>(next - Clock::now()), Millis(0), kLongestNap);
    pollfd waiter{wake_.get(), POLLIN, 0};
    if (::poll(&waiter, 1, static_cast<int>(nap.count())) > 0) {
      eventfd_t count = 0;
      static_cast<void>(::eventfd_read(wake_.get(), &count));
    }
  }
}

Connector::Time Connector::Work(Time now) {
  AdoptLinks();
  for (const auto& wanted : links_) wanted.link->Bury();
  if (Held() || !terminal().ok()) return now + kLongestNap;
  Time next = now + kLongestNap;
  if (take_over_) {
    if (now >= next_take_over_) TryTakeOver(now);
    if (take_over_) return std::min(next, next_take_over_);
  }
  if (now >= next_renew_) TryRenew(now);
  next = std::min(next, next_renew_);
  for (auto& wanted : links_) {
    if (stop_.load(std::memory_order_acquire)) break;
    if (wanted.link->wants_channel()) {
      if (Clock::now() >= wanted.next_try) TryConnect(wanted, Clock::now());
      if (wanted.link->wants_channel()) next = std::min(next, wanted.next_try);
    } else {
      WatchProgress(wanted, now);
      if (wanted.link->in_flight() != 0) next = std::min(next, now + options_.stall_limit / 4);
    }
  }
  return next;
}

void Connector::AdoptLinks() {
  const std::lock_guard lock(mutex_);
  std::erase_if(opened_, [](const auto& link) { return link->closed(); });
  std::erase_if(links_, [](const Wanted& wanted) { return wanted.link->closed(); });
  for (const auto& link : opened_) {
    const bool known =
        std::any_of(links_.begin(), links_.end(), [&](const Wanted& wanted) { return wanted.link == link; });
    if (!known) links_.push_back({link, {}, Millis(0), options_.dial_timeout, 0, {}});
  }
}

Millis Connector::Longer(Millis pause) const {
  return pause == Millis(0) ? options_.first_pause : std::min(2 * pause, options_.last_pause);
}

bool Connector::EndIfLost(const Status& answer) {
  Status why;
  if (answer.code() == ErrorCode::kNotFound) {
    why = Status(ErrorCode::kDataLoss,
                 fmt::format("sponsor {} does not know lease {} any more: it came back without its memory, or the "
                             "lease was freed there",
                             options_.sponsor, lease().key.id.value()),
                 ErrorScope::kReplica);
  } else if (answer.code() == ErrorCode::kPermissionDenied) {
    why = answer.WithContext("sponsor " + options_.sponsor);
  } else {
    return false;
  }
  Log().error("{}", why.ToString());
  EndLinks(why);
  return true;
}

void Connector::TryTakeOver(Time now) {
  const auto lease = sponsor_.TakeOver(*take_over_);
  if (lease.ok()) {
    take_over_.reset();
    Note(Status());
    Learn(*lease);
    next_renew_ = now + lease->time_to_live / 3;
    if (observer_ != nullptr) observer_->OnLease(*lease);
    return;
  }
  Note(lease.status());
  if (EndIfLost(lease.status())) return;
  take_over_pause_ = Longer(take_over_pause_);
  next_take_over_ = Clock::now() + take_over_pause_;
}

void Connector::TryRenew(Time now) {
  const auto renewed = sponsor_.Renew(lease().key, options_.owner_boot_id);
  if (renewed.ok()) {
    Learn(*renewed);
    renew_pause_ = Millis(0);
    next_renew_ = now + std::max(renewed->time_to_live / 3, options_.first_pause);
    return;
  }
  Note(renewed.status());
  if (EndIfLost(renewed.status())) return;
  renew_pause_ = Longer(renew_pause_);
  next_renew_ = Clock::now() + renew_pause_;
}

void Connector::TryConnect(Wanted& wanted, Time now) {
  wanted.link->Bury();
  auto connected = Connect(wanted);
  if (connected.ok()) {
    wanted.pause = Millis(0);
    wanted.patience = options_.dial_timeout;
    wanted.last_progress = now;
    wanted.seen_completions = wanted.link->completions();
    wanted.link->Hand(std::move(connected->channel), std::move(connected->transport));
    return;
  }
  Note(connected.status());
  wanted.pause = Longer(wanted.pause);
  wanted.next_try = Clock::now() + wanted.pause;
  Log().debug("no connection {} of lease {} yet: {}", wanted.link->name().stream, lease().key.id.value(),
              connected.status().ToString());
}

Result<Connector::Connected> Connector::Connect(Wanted& wanted) {
  const StreamName name = wanted.link->name();
  Status last(ErrorCode::kUnsupported,
              fmt::format("sponsor {} offers no transport that may be used: here {}", options_.sponsor, Allowed()),
              ErrorScope::kConnection);
  for (std::size_t tried = 0;; ++tried) {
    const control::LeaseKey key = lease().key;
    const auto grant = sponsor_.OpenData(key, name.role, name.stream, 1);  // a token is good once, and so for one way
    if (!grant.ok()) {
      if (grant.status().code() == ErrorCode::kFailedPrecondition) next_renew_ = Time();  // quarantined: renew, retry
      EndIfLost(grant.status());
      return grant.status();
    }
    if (grant->tokens.empty()) return Status(ErrorCode::kInternal, "the sponsor sent no token");
    const auto ways = Ways(*grant);
    if (tried >= ways.size()) return last;  // the sponsor was restarted in between, and offers less
    HECA_ASSIGN_OR_RETURN(const auto endpoint, transport::Endpoint::Parse(ways[tried].address));
    auto channel = ways[tried].dialer->Dial(endpoint, {grant->tokens.front(), key.id, key.epoch, name.role},
                                            Deadline::After(wanted.patience));
    if (channel.ok()) {
      if (tried > 0) TellFallback(ways[tried].transport, last);
      return Connected{ways[tried].transport, std::move(*channel)};
    }
    last = channel.status();
    wanted.patience = std::min(2 * wanted.patience, options_.longest_dial);
    if (tried + 1 == ways.size()) return last;
  }
}

std::vector<Connector::Way> Connector::Ways(const control::DataGrant& grant) const {
  std::vector<Way> ways;
  for (const auto& offer : grant.endpoints) {
    for (const auto& mine : options_.dialers) {
      if (mine.transport == offer.transport) ways.push_back({mine.transport, mine.dialer, offer.address});
    }
  }
  return ways;
}

std::string Connector::Allowed() const {
  std::vector<std::string_view> names;
  for (const auto& mine : options_.dialers) names.push_back(mine.transport);
  return names.empty() ? "none may" : fmt::format("{} may", fmt::join(names, " or "));
}

void Connector::TellFallback(const std::string& transport, const Status& why) {
  if (std::exchange(told_fallback_, true)) return;
  Log().warn("sponsor {} is reached over {}: {}", options_.sponsor, transport, why.ToString());
}

void Connector::WatchProgress(Wanted& wanted, Time now) const {
  const auto completions = wanted.link->completions();
  if (completions != wanted.seen_completions || wanted.link->in_flight() == 0) {
    wanted.seen_completions = completions;
    wanted.last_progress = now;
  } else if (now - wanted.last_progress >= options_.stall_limit) {
    wanted.last_progress = now;
    wanted.link->Stall();
  }
}

void Connector::TellHealth() {
  const Status end = terminal();
  StoreHealth health = StoreHealth::kGood;
  if (!end.ok()) {
    health = StoreHealth::kLost;
  } else if (Held() || take_over_ || std::any_of(links_.begin(), links_.end(),
                                       [](const Wanted& wanted) { return wanted.link->wants_channel(); })) {
    health = StoreHealth::kDisconnected;
  } else if (links_.empty() && renew_pause_ != Millis(0)) {
    health = StoreHealth::kDisconnected;
  }
  if (health_.exchange(health, std::memory_order_acq_rel) == health || observer_ == nullptr) return;
  if (end.code() == ErrorCode::kAborted) return;  // closed by its owner, who knows
  const bool good = health == StoreHealth::kGood;
  observer_->OnHealth(health, health == StoreHealth::kLost ? end : good ? Status() : trouble());
}

}  // namespace heca::store
