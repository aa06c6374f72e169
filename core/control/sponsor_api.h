// SPDX-License-Identifier: LGPL-2.1-or-later
// What a compute node asks of a sponsor: memory, for a time, in its name. The store room implements it over local
// slabs; SponsorClient (control/sponsor_client.h) implements it over gRPC; both behave alike.
//
// Life of a lease:  Reserve -> (OpenData, Renew, Extend)* -> Free.
// A lease that is not renewed in time is *quarantined*, not freed: its hecad may be down while its VM runs. Renew or
// TakeOver by its owner revives it. Only Free by its owner, another boot id of its owner's host, or the operator
// (NodeApi::FreeLease) ends it.
// Every call on a lease shows a LeaseKey. Wrong secret: kPermissionDenied. Another epoch than the sponsor's:
// kPermissionDenied, and the text says both epochs. Lease unknown: kNotFound.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "heca/page_store.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::control {

/// What this build speaks, and the oldest that it still understands.
inline constexpr std::uint32_t kProtocolVersion = 1;
inline constexpr std::uint32_t kOldestProtocolVersion = 1;

/// 128 random bits that only owner and sponsor know. Journaled by the owner beside the lease's id.
using Secret = std::array<std::byte, 16>;
/// Admits one data connection, once. The same type as transport::Token.
using Token = std::array<std::byte, 16>;

/// Shown with every call on a lease.
struct LeaseKey {
  LeaseId id;
  Epoch epoch;
  Secret secret{};
};

/// Where data connections of one transport are accepted.
struct DataEndpoint {
  std::string transport;  ///< "tcp"
  std::string address;    ///< "10.1.0.3:7300"
};

/// A sponsor about itself. `donated = lent + quarantined + scrubbing + free`.
struct SponsorInfo {
  std::string node;     ///< unique in the cluster
  std::string boot_id;  ///< of the host, as in /proc/sys/kernel/random/boot_id
  std::uint32_t protocol_version = 0;
  std::uint32_t oldest_protocol_version = 0;
  std::vector<Bytes> page_sizes;         ///< that it can lend
  Bytes donated;
  Bytes lent;
  Bytes quarantined;
  Bytes scrubbing;
  Bytes free;
  std::vector<DataEndpoint> endpoints;  ///< best first
};

struct ReserveRequest {
  std::string owner_node;
  std::string owner_boot_id;  ///< a host that comes back with another one has lost its VMs: the sponsor may free
  RegionId region;            ///< for people
  Bytes page_size;
  std::uint32_t slots = 0;
};

/// A lease as its owner must remember it (journal it before the first page is written).
struct Lease {
  LeaseKey key;
  std::uint32_t slots = 0;  ///< slots 1..slots may be used
  Bytes page_size;
  Bytes slab_size;       ///< what the sponsor rounds reservations up to
  Millis time_to_live{};  ///< from now; a span and not a time, because the two clocks need not agree
};

/// Bumps the epoch, which shuts out data connections and late writes of the lease's former user (a hecad that died).
/// Accepted if the lease is at `key.epoch`, or is at `to` already by the same `claim`: the call may be repeated when
/// its answer was lost. An owner journals (to, claim) before it calls.
///
/// `back`: the caller lent its ownership to another hecad, which may have gone on to epochs that it does not know, and takes
/// it back: accepted from any epoch below `to`. To be asked for only while the other one's VM cannot run.
struct TakeOverRequest {
  LeaseKey key;  ///< with the epoch that the caller knows
  Epoch to;      ///< > key.epoch
  Secret claim{};  ///< random, chosen by the caller for this attempt
  std::string owner_node;
  std::string owner_boot_id;
  bool back = false;
};

/// How far above the epoch that it knows an owner takes its lease back: another hecad may have been restarted as often.
inline constexpr std::uint64_t kBackBy = 1U << 16;

/// One-time admissions to data connections of one role.
struct DataGrant {
  std::vector<Token> tokens;
  Millis time_to_live{};                 ///< for connecting; an admitted connection stays
  std::vector<DataEndpoint> endpoints;  ///< best first
};

enum class LeaseState : std::uint8_t { kInvalid = 0, kActive = 1, kQuarantined = 2 };
[[nodiscard]] std::string_view ToString(LeaseState state);

/// A lease as the sponsor's operator sees it.
struct LeaseInfo {
  LeaseId id;
  Epoch epoch;
  LeaseState state = LeaseState::kInvalid;
  std::string owner_node;
  std::string owner_boot_id;
  RegionId region;
  Bytes page_size;
  Bytes reserved;
  Bytes written;          ///< of the reserved bytes, those that hold a page
  Millis time_to_live{};  ///< until quarantine; zero once quarantined
};

/// Largest number of tokens of one OpenData.
inline constexpr std::uint32_t kMaxTokens = 64;

/// Thread-safe. Calls may block for as long as a network call does: never called on a fault loop.
class SponsorApi {
 public:
  virtual ~SponsorApi() = default;
  [[nodiscard]] virtual Result<SponsorInfo> Describe() = 0;
  /// kResourceExhausted when that much is not free: nothing is reserved then. Not repeatable: a reservation whose
  /// answer is lost is quarantined by itself, empty, and freed by the sponsor.
  [[nodiscard]] virtual Result<Lease> Reserve(const ReserveRequest& request) = 0;
  /// Adds `more` slots behind the existing ones; the key stays. The answer is the whole lease.
  [[nodiscard]] virtual Result<Lease> Extend(const LeaseKey& key, std::uint32_t more) = 0;
  /// The heartbeat. Revives a quarantined lease. The answer is the whole lease.
  [[nodiscard]] virtual Result<Lease> Renew(const LeaseKey& key, const std::string& owner_boot_id) = 0;
  /// The answer's key has the new epoch.
  [[nodiscard]] virtual Result<Lease> TakeOver(const TakeOverRequest& request) = 0;
  /// Tokens for the connections that the owner calls (role, `stream`) .. (role, `stream` + `count` - 1); `count` is 1
  /// to kMaxTokens. Ends the former connection of each of these names first, and answers only when it can touch the
  /// lease no more (kBusy: not yet, ask again): so a write or release that was sent on a connection that broke never
  /// takes effect after it was sent again on the next one. Streams are numbered by the owner as it likes.
  [[nodiscard]] virtual Result<DataGrant> OpenData(const LeaseKey& key, Role role, std::uint32_t stream,
                                                   std::uint32_t count) = 0;
  /// Ends the lease; its slabs are scrubbed before they are lent again. kNotFound on a repeat: take it for done.
  [[nodiscard]] virtual Status Free(const LeaseKey& key) = 0;
};

}  // namespace heca::control
