// SPDX-License-Identifier: LGPL-2.1-or-later
// The thread of a remote store that does everything that blocks: takes the lease over after a restart, renews it,
// asks for tokens, dials, and dials again with a growing pause (10 ms to 1 s) after a failure.
//
// Order at a reconnect (lease_view.h has the argument): the old channel is destroyed here, then the sponsor ends the
// old connection of that stream and hands out a token, then the new one is dialled.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/unique_fd.h"
#include "control/sponsor_api.h"
#include "heca/page_store.h"
#include "store/link.h"
#include "transport/channel.h"

namespace heca::store {

/// One way to reach sponsors' data ports.
struct NamedDialer {
  std::string transport;  ///< as in control::DataEndpoint
  transport::Dialer* dialer = nullptr;
};

struct RemoteOptions {
  std::string sponsor;        ///< its name, for people
  std::string owner_boot_id;  ///< of this host
  std::vector<NamedDialer> dialers;  ///< the sponsor's order decides which is taken
  Millis dial_timeout{1'000};   ///< of a link's first dial; each that fails gives the next one twice as long
  Millis longest_dial{4'000};   ///< at most: where setting up takes its time, a limit that stays would never be met
  Millis open_wait{5'000};    ///< how long OpenReader and OpenWriter wait for the first connection
  Millis stall_limit{5'000};  ///< in flight, and nothing completed for so long: the connection is given up
  Millis first_pause{10};
  Millis last_pause{1'000};
  bool hold = false;          ///< the lease is somebody else's still: see Connector::Begin
};

/// Told by the connector thread; must not call the store's destructor or Free.
class StoreObserver {
 public:
  virtual ~StoreObserver() = default;
  virtual void OnHealth(StoreHealth health, const Status& why) = 0;
  /// The lease as the sponsor has it now: to be journaled. After a take-over and an Extend.
  virtual void OnLease(const control::Lease& lease) = 0;
};

/// Thread-safe.
class Connector {
 public:
  /// `take_over`: to be done first, as often as it takes. `observer` may be null. With options.hold nothing is asked of the
  /// sponsor before Begin.
  static Result<std::unique_ptr<Connector>> Create(control::SponsorApi& sponsor, control::Lease lease,
                                                   std::optional<control::TakeOverRequest> take_over,
                                                   RemoteOptions options, StoreObserver* observer);
  /// Stops the thread; waits for the call it is in (bounded by that call's own deadline).
  ~Connector();

  /// Of a connector that is held, once.
  void Begin(const control::TakeOverRequest& take_over);
  /// A new stream, connected as soon as can be; ended at once if the store is lost already. So a region of which some pages
  /// are here is taken back although the others are lost, however soon that was found out.
  Result<std::shared_ptr<Link>> Open(Role role);
  /// Ends every link with `why`, for good; nothing is dialled or renewed from then on.
  void Shut(const Status& why);
  /// Merges what a call on another thread learned.
  void Learn(const control::Lease& lease);

  [[nodiscard]] control::Lease lease() const;
  [[nodiscard]] StoreHealth health() const { return health_.load(std::memory_order_acquire); }
  /// Null while there is hope.
  [[nodiscard]] Status terminal() const;
  [[nodiscard]] std::vector<LinkInfo> Links() const;
  /// The last failure of a call or a dial; null: there was none.
  [[nodiscard]] Status trouble() const;
  [[nodiscard]] const RemoteOptions& options() const { return options_; }

 private:
  using Time = Clock::time_point;
  struct Wanted {
    std::shared_ptr<Link> link;
    Time next_try{};
    Millis pause{0};
    Millis patience{0};  ///< with a dial
    std::uint64_t seen_completions = 0;
    Time last_progress{};
  };

  Connector(control::SponsorApi& sponsor, control::Lease lease, std::optional<control::TakeOverRequest> take_over,
            RemoteOptions options, StoreObserver* observer, unique_fd wake);
  void Run();
  Time Work(Time now);
  [[nodiscard]] bool Held();
  void AdoptLinks();
  void TryTakeOver(Time now);
  void TryRenew(Time now);
  void TryConnect(Wanted& wanted, Time now);
  struct Connected {
    std::string transport;
    std::unique_ptr<transport::Channel> channel;
  };
  Result<Connected> Connect(Wanted& wanted);
  struct Way {
    std::string transport;
    transport::Dialer* dialer = nullptr;
    std::string address;
  };
  /// To the sponsor's data ports that both ends know, the sponsor's best first.
  [[nodiscard]] std::vector<Way> Ways(const control::DataGrant& grant) const;
  /// "rdma or tcp may", for people.
  [[nodiscard]] std::string Allowed() const;
  void TellFallback(const std::string& transport, const Status& why);
  void WatchProgress(Wanted& wanted, Time now) const;
  /// True if the sponsor's answer means that the store is lost: every link has ended then.
  bool EndIfLost(const Status& answer);
  void EndLinks(const Status& why);
  void TellHealth();
  void Note(const Status& trouble);
  [[nodiscard]] Millis Longer(Millis pause) const;

  control::SponsorApi& sponsor_;
  const RemoteOptions options_;
  StoreObserver* const observer_;
  const unique_fd wake_;

  mutable std::mutex mutex_;  ///< of what follows up to the blank line
  control::Lease lease_;
  Status terminal_;
  Status trouble_;
  std::vector<std::shared_ptr<Link>> opened_;  ///< all links, for Links(); pruned when closed
  std::uint32_t next_stream_ = 1;
  bool held_;
  std::optional<control::TakeOverRequest> begun_;  ///< the thread has not seen it yet

  std::atomic<StoreHealth> health_{StoreHealth::kDisconnected};
  std::atomic<bool> stop_{false};

  // The connector thread's own.
  std::optional<control::TakeOverRequest> take_over_;
  std::vector<Wanted> links_;
  Time next_take_over_{};
  Millis take_over_pause_{0};
  Time next_renew_{};
  Millis renew_pause_{0};
  bool told_fallback_ = false;
  std::thread thread_;
};

}  // namespace heca::store
