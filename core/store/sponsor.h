// SPDX-License-Identifier: LGPL-2.1-or-later
// The memory server in a hecad that was started with --donate: lends slots, admits data connections to them, and
// remembers its leases across restarts.
//
//   Reserve ──> active ──(no Renew for lease_life)──> quarantined ──Renew / TakeOver──> active
//                  │                                       │
//                  ├── Free by the owner's epoch           ├── the same, and at once when the owner's host announces
//                  └── ForceFree(force)                    │   another boot id, or when nobody ever opened the lease
//                                                          └── ForceFree by the operator
// A quarantined lease keeps its bytes and its quota: the owner's hecad may be down while its VM runs. A new boot id
// of the owner's host frees a lease only once it is quarantined, so that two hosts that were given one name by mistake
// cannot free each other's memory.
//
// What a failure loses: the process, nothing (tmpfs); the host or the directory, everything, and owners are told
// kNotFound, which they report as kDataLoss. tmpfs counts against the host's memory: donate no more than can be spared.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "store/lease_memory.h"
#include "store/quota.h"
#include "store/store_directory.h"
#include "store/token_book.h"
#include "transport/server.h"

namespace heca::store {

struct SponsorOptions {
  std::string node;       ///< unique in the cluster
  std::string boot_id;    ///< of this host
  std::string directory;  ///< on tmpfs, for this sponsor alone
  Bytes donated;
  Bytes slab_size{Bytes(64U << 20)};     ///< a multiple of 2 MiB; smaller ones (of 4 KiB) lend base pages only
  Backing backing = Backing::kReserved;  ///< of new leases
  Millis lease_life{60'000};             ///< from one Renew to quarantine
  Millis token_life{30'000};
  Millis fence_wait{500};  ///< how long OpenData and TakeOver wait for old connections before they say kBusy
  std::function<Clock::time_point()> now = [] { return Clock::now(); };
};

enum class LeaseEvent : std::uint8_t {
  kInvalid = 0,
  kGranted = 1,
  kQuarantined = 2,
  kRevived = 3,
  kFreed = 4,
};

/// Told about leases, on whatever thread made it happen; must not call the sponsor.
class LeaseObserver {
 public:
  virtual ~LeaseObserver() = default;
  virtual void OnLease(LeaseEvent event, const control::LeaseInfo& lease, std::string_view why) = 0;
};

/// Thread-safe. Data connections never meet a lock of the control path after their admission.
class Sponsor final : public control::SponsorApi, public transport::Admission {
 public:
  /// Takes back the leases of a former process; each is given a full lease_life to be renewed in. `observer` may be
  /// null and outlives the sponsor.
  static Result<std::unique_ptr<Sponsor>> Create(SponsorOptions options, LeaseObserver* observer = nullptr);
  /// Leaves every lease on tmpfs for the next sponsor. Servers must be gone: they use the sponsor.
  ~Sponsor() override;

  /// What owners are told to dial; set once the servers listen.
  void SetEndpoints(std::vector<control::DataEndpoint> endpoints);

  Result<control::SponsorInfo> Describe() override;
  Result<control::Lease> Reserve(const control::ReserveRequest& request) override;
  Result<control::Lease> Extend(const control::LeaseKey& key, std::uint32_t more) override;
  Result<control::Lease> Renew(const control::LeaseKey& key, const std::string& owner_boot_id) override;
  Result<control::Lease> TakeOver(const control::TakeOverRequest& request) override;
  Result<control::DataGrant> OpenData(const control::LeaseKey& key, Role role, std::uint32_t stream,
                                      std::uint32_t count) override;
  Status Free(const control::LeaseKey& key) override;

  Result<std::shared_ptr<transport::SlotMemory>> Admit(const transport::Hello& hello) override;

  /// A host says which boot it runs: leases of its former boots may go. Reserve implies it.
  void AnnounceBoot(const std::string& node, const std::string& boot_id);
  /// Quarantines and frees what is due. Every control call does it first; a timer does it where nobody calls.
  void Sweep();
  /// For the operator.
  [[nodiscard]] std::vector<control::LeaseInfo> Leases();
  /// kFailedPrecondition for an active lease without `force`.
  Status ForceFree(LeaseId id, bool force);

 private:
  struct Entry;
  using EntryPtr = std::shared_ptr<Entry>;

  Sponsor(SponsorOptions options, LeaseObserver* observer, StoreDirectory directory);
  void TakeBack(StoredLease stored);
  EntryPtr Adopt(LeaseRecord record, std::vector<Slab> slabs, QuotaCharge charge);
  [[nodiscard]] EntryPtr Find(LeaseId id);
  [[nodiscard]] std::vector<EntryPtr> AllEntries();
  /// Finds the lease and takes its lock; checks the secret, and the epoch too unless told otherwise.
  struct Locked;
  Result<Locked> Lock(const control::LeaseKey& key, bool check_epoch = true);
  [[nodiscard]] control::Lease Answer(const Entry& entry) const;
  [[nodiscard]] control::LeaseInfo Info(const Entry& entry) const;
  void Revive(Entry& entry);
  Status FreeLocked(Entry& entry, std::string_view why);
  [[nodiscard]] Result<SlabShape> ShapeFor(Bytes page_size) const;
  void Tell(LeaseEvent event, const Entry& entry, std::string_view why) const;
  [[nodiscard]] Bytes Scrubbing();

  const SponsorOptions options_;
  LeaseObserver* const observer_;
  StoreDirectory directory_;
  const std::shared_ptr<Quota> quota_;
  TokenBook tokens_;
  std::mutex mutex_;  ///< of what follows; never held while a lease's lock is taken
  std::map<LeaseId, EntryPtr> leases_;
  std::vector<std::pair<std::weak_ptr<LeaseMemory>, Bytes>> freed_;  ///< still seen by a connection
  std::vector<control::DataEndpoint> endpoints_;
};

}  // namespace heca::store
