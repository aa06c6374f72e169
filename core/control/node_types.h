// SPDX-License-Identifier: LGPL-2.1-or-later
// The values of NodeApi: what an operator asks of a hecad and what it tells. Plain data; no gRPC and no JSON here.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/size.h"
#include "base/transport_choice.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::control {

using WallTime = std::chrono::system_clock::time_point;

/// As in "1:3" (a quarter stays here). Both > 0.
using Ratio = heca::Ratio;

/// What to do with a page whose last copy is lost.
enum class PageLoss : std::uint8_t {
  kInvalid = 0,
  kWait = 1,    ///< the thread that touches it waits, the VM is stopped, an event says so (the default)
  kPoison = 2,  ///< the thread gets a memory error; asked for by name only
};

/// What to do with pages that no sponsor has any more. Never done by itself.
enum class LostPages : std::uint8_t {
  kInvalid = 0,
  kAskAgain = 1,  ///< the sponsor may be back with its memory
  kPoison = 2,    ///< a touch is a memory error (kills a QEMU under TCG)
  kZero = 3,      ///< the guest finds zeros
};

/// Which shared mappings of a plain process are governed. All given conditions must hold. QEMU needs none.
struct MappingSelector {
  std::string path;                 ///< of the mapped file; empty: any
  std::uint64_t inode = 0;          ///< 0: any
  std::uint64_t address_begin = 0;  ///< 0 and 0: any
  std::uint64_t address_end = 0;    ///< exclusive
};

struct AttachSpec {
  RegionId region;         ///< empty: the domain's name, or "pid-PID"
  std::int32_t pid = 0;    ///< exactly one of pid and domain
  std::string domain;      ///< libvirt domain name
  std::string qmp_socket;  ///< empty: found for a domain, none for a pid
  MappingSelector mapping;
  /// At most one of the two; none: everything stays here until a Limit says otherwise.
  std::optional<Bytes> local_limit;
  std::optional<Ratio> ratio;
  std::vector<std::string> sponsors;  ///< peer names or "host:port"; empty: hecad chooses
  std::uint32_t replicas = 1;
  PageLoss page_loss = PageLoss::kWait;
  TransportChoice transport = TransportChoice::kAuto;  ///< narrows what the node may take
  /// Rarely needed switches by name, as in `hecactl attach --option NAME=VALUE`; an unknown name is refused.
  std::vector<std::pair<std::string, std::string>> options;
};

/// What libvirt's hook tells of a domain whose metadata ask for heca.
struct DomainEvent {
  std::string domain;     ///< libvirt's name
  std::string operation;  ///< as libvirt's hooks call it: "started", ...
  std::string phase;      ///< "begin", ...
  std::string xml;        ///< the domain's
};

/// How far a long operation is. `total` 0: not known.
struct Progress {
  std::string phase;  ///< one word, stable within a release: "capture", "reserve", "write-back", "home"
  std::uint64_t done = 0;
  std::uint64_t total = 0;  ///< bytes
  std::string text;         ///< for people
};

enum class RegionState : std::uint8_t {
  kInvalid = 0,
  kAttaching = 1,
  kActive = 2,
  kDetaching = 3,
  kResuming = 4,    ///< not governed yet after a restart of hecad, or anew after its store was lost; `trouble` says why
  kStalled = 5,     ///< pages are out of reach; threads that touch them wait
  kEnding = 6,      ///< its process is gone, leases are being given back
  kLeaving = 7,     ///< its VM moves to another host: not governed meanwhile, threads that touch what is away wait
};

enum class StoreState : std::uint8_t { kInvalid = 0, kGood = 1, kDisconnected = 2, kLost = 3 };

/// A sponsor that holds pages of a region.
struct StoreInfo {
  std::string sponsor;
  std::string endpoint;
  std::string transport;  ///< that its connections use, or used last: "tcp", "rdma", "rdma+tcp"; empty: none was there yet
  LeaseId lease;
  Epoch epoch;
  StoreState state = StoreState::kInvalid;
  Bytes reserved;
  Bytes used;
};

struct BlockInfo {
  std::string name;  ///< QEMU's RAM block, or the mapped file
  std::string path;
  Bytes size;
};

struct RegionInfo {
  RegionId name;
  RegionState state = RegionState::kInvalid;
  std::int32_t pid = 0;
  std::string domain;
  std::vector<BlockInfo> blocks;
  Bytes size;
  Bytes page_size;
  Bytes limit;     ///< resident bytes allowed; equal to `size`: no limit
  Bytes resident;  ///< here
  Bytes away;      ///< at sponsors
  Bytes lost;      ///< known to be at no sponsor any more, poisoned ones too
  PageLoss page_loss = PageLoss::kInvalid;
  std::uint32_t replicas = 0;
  std::vector<StoreInfo> stores;
  std::string io_rule;     ///< how I/O in flight is waited for (IoGuard::Describe)
  Nanos capture_stop{};    ///< how long the guest stood still at attach
  WallTime attached_at{};
  std::string trouble;     ///< empty, or why the state is not kActive
};

/// One answer of doctor, and one fact about the kernel.
enum class Verdict : std::uint8_t { kInvalid = 0, kOk = 1, kWarn = 2, kFail = 3 };

struct DoctorCheck {
  std::string name;
  Verdict verdict = Verdict::kInvalid;
  std::string what;    ///< the value found
  std::string remedy;  ///< empty when ok
};

struct NamedFact {
  std::string name;
  std::string value;
};

struct NamedCounter {
  std::string name;  ///< as in the metrics, without the prefix: "sponsor_reconnects_total"
  std::uint64_t value = 0;
};

/// hecad about itself.
struct NodeInfo {
  std::string name;
  std::string version;
  std::string boot_id;
  std::int32_t pid = 0;
  Millis uptime{};
  std::string local_endpoint;               ///< unix socket
  std::string peer_endpoint;                ///< control port; empty: none
  std::vector<std::string> data_endpoints;  ///< "tcp 10.1.0.3:7300"
  std::vector<NamedFact> kernel;            ///< abilities as probed: {"uffd-minor-shmem", "yes"}
  Bytes donated;
  Bytes lent;
  Bytes quarantined;
  Bytes free;
  std::uint32_t regions = 0;
  std::vector<NamedCounter> counters;
};

enum class PeerHealth : std::uint8_t {
  kInvalid = 0,
  kUnknown = 1,      ///< not asked yet
  kAlive = 2,
  kUnreachable = 3,
  kRestarted = 4,    ///< alive, but with another boot id than before: what it held is gone
  kSelf = 5,
};

/// One data connection, of either direction.
struct ConnectionInfo {
  std::string text;  ///< "tcp 127.0.0.1:40112 -> 127.0.0.1:7300"
  std::string role;  ///< "urgent", "bulk"
  RegionId region;   ///< empty for accepted connections
  LeaseId lease;
  bool outgoing = false;
  std::uint64_t bytes_in = 0;
  std::uint64_t bytes_out = 0;
};

struct PeerInfo {
  std::string name;
  std::string endpoint;
  std::string failure_domain;
  PeerHealth health = PeerHealth::kInvalid;
  std::string boot_id;
  Bytes donated;
  Bytes free;
  Nanos rtt{};  ///< of the last heartbeat; 0: none yet
  std::vector<std::string> transports;
  std::vector<ConnectionInfo> connections;
  std::string trouble;  ///< the last error while unreachable
};

enum class Severity : std::uint8_t { kInvalid = 0, kInfo = 1, kWarning = 2, kError = 3 };

/// What happened. New kinds are added at the end; a reader shows an unknown one by its text.
enum class EventKind : std::uint8_t {
  kInvalid = 0,
  kStarted = 1,
  kStopping = 2,
  kAttached = 3,
  kAttachFailed = 4,
  kLimitChanged = 5,
  kDetached = 6,
  kRegionEnded = 7,        ///< the process went away
  kRecovered = 8,          ///< taken back after a restart
  kSponsorDisconnected = 9,
  kSponsorReconnected = 10,
  kSponsorLost = 11,       ///< came back without its memory, or never
  kPagesLost = 12,
  kVmStopped = 13,
  kVmResumed = 14,
  kOutOfMemory = 15,       ///< local memory for placing is used up
  kAlarm = 16,             ///< something the engine repaired and should never see
  kLeaseGranted = 17,
  kLeaseFreed = 18,
  kLeaseQuarantined = 19,
  kLeaseRevived = 20,
  kPeerUp = 21,
  kPeerDown = 22,
  kPeerRebooted = 23,
  kResuming = 24,          ///< cannot be taken back yet after a restart; the text says why
  kResolved = 25,          ///< an operator has said what to do with lost pages
  kEarlyFault = 26,        ///< a thread of a QEMU that waits for a VM touches memory that may not be served yet
};

struct Event {
  std::uint64_t sequence = 0;  ///< from 1, without holes, per run of hecad
  WallTime time{};
  Severity severity = Severity::kInvalid;
  EventKind kind = EventKind::kInvalid;
  RegionId region;
  std::string text;
  std::vector<std::pair<std::string, std::string>> values;
};

struct EventQuery {
  std::uint64_t since = 0;  ///< events with a greater sequence; 0: all that are kept
  bool follow = false;      ///< go on until cancelled
};

[[nodiscard]] std::string_view ToString(PageLoss value);
[[nodiscard]] std::string_view ToString(LostPages value);
[[nodiscard]] std::string_view ToString(RegionState value);
[[nodiscard]] std::string_view ToString(StoreState value);
[[nodiscard]] std::string_view ToString(Verdict value);
[[nodiscard]] std::string_view ToString(PeerHealth value);
[[nodiscard]] std::string_view ToString(Severity value);
[[nodiscard]] std::string_view ToString(EventKind value);

}  // namespace heca::control
