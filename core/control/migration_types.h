// SPDX-License-Identifier: LGPL-2.1-or-later
// The values of a live migration: what an operator asks for and is told, and what the two hecads say to each other.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "control/node_types.h"
#include "control/sponsor_api.h"
#include "heca/types.h"

namespace heca::control {

/// When the VM changes over to the destination.
enum class MigrationMode : std::uint8_t {
  kInvalid = 0,
  kPostCopy = 1,  ///< at once; all memory follows
  kHybrid = 2,    ///< after rounds that copy memory ahead, once what is left is small or time is up
  kPreCopy = 3,   ///< only when what is left fits the downtime goal
};

/// What `hecactl migrate` asks for.
struct MigrateSpec {
  std::int32_t pid = 0;     ///< of the source's QEMU; exactly one of pid and domain
  std::string domain;
  std::string qmp_socket;   ///< of the source's QEMU; empty: found for a domain
  std::string destination;  ///< peer name, or HOST:PORT of the other hecad's control plane
  // For a QEMU that waits at the destination with `-incoming defer`; not needed under libvirt.
  std::int32_t destination_pid = 0;
  std::string destination_qmp;  ///< path on the destination's host
  std::string uri;              ///< as of QMP's migrate and migrate-incoming: where the device state travels
  MigrationMode mode = MigrationMode::kPostCopy;
  Millis downtime_goal{300};
  std::uint64_t bandwidth = 0;  ///< bytes a second for what is copied ahead or behind; 0: as fast as it goes
};

/// What an operator changes of a migration that is under way, or orders of the one that libvirt begins within two minutes.
struct SteerSpec {
  RegionId region;
  bool switch_now = false;  ///< the VM changes over as soon as it can; what is left follows
  std::optional<std::uint64_t> bandwidth{};  ///< bytes a second; 0: as fast as it goes
  std::optional<MigrationMode> mode{};       ///< this and the next: only of one that has not begun
  std::optional<Millis> downtime_goal{};
};

/// For how long a VM's vCPUs waited for pages at its destination, as QEMU's postcopy-blocktime counts. A wait counts once
/// it is over.
struct Blocktime {
  std::vector<Nanos> vcpus;  ///< each vCPU, in the order of their indexes
  Nanos all_vcpus{0};        ///< all of them at once: for so long nothing of the VM could run
  Nanos others{0};           ///< other threads (QEMU's main loop and I/O threads, the kernel's), added up
  bool operator==(const Blocktime&) const = default;
};

/// What has been reached; of a migration that went well, all of it.
struct MigrationSummary {
  RegionId region;
  MigrationMode mode = MigrationMode::kInvalid;
  Millis total{0};           ///< from the call until no page is left at the source
  Nanos downtime{0};         ///< from the source's STOP to the destination's RESUME
  Bytes memory;              ///< of the VM
  Bytes moved;               ///< pages that were copied over the network
  Bytes zero;                ///< pages that needed no copy, since they hold nothing
  Bytes ahead;               ///< of `moved`: before the VM stopped
  std::uint32_t rounds = 0;  ///< in which that was done
  std::uint64_t faults = 0;  ///< pages that a thread of the VM had to wait for
  Nanos fault_p50{0};        ///< how long
  Nanos fault_p99{0};
  Nanos blocked{0};          ///< all waits of all threads, added up: for pages that were here already too
  std::optional<Blocktime> blocktime;  ///< nothing: not known
};

/// A VM that leaves this node, or left it a short time ago; whoever leads it, hecad or libvirt.
struct MigrationInfo {
  LeaseId image;             ///< of its memory, which is lent to the destination: its identity, over restarts of hecad too
  std::string domain;        ///< libvirt's name, where libvirt leads; a hecad that was restarted meanwhile does not know it
  std::string destination;   ///< node name, or HOST:PORT
  Progress progress;         ///< `phase`: a word of migration/phase.h
  WallTime started{};
  bool over = false;         ///< nothing of the VM is left here, or all of it is here again
  bool ok = false;           ///< over, and the destination has all of it
  std::string trouble;       ///< over and not ok: why
  MigrationSummary reached;  ///< so far; `total` is the time since `started`, `downtime` 0 until it runs there
};

/// A block of guest RAM, alike on both sides.
struct RamBlock {
  std::string name;  ///< QEMU's, e.g. "pc.ram"
  Bytes size;
};

/// Of a VM whose memory is governed: what is handed over with it. Pages that are not in the image lie in slots of the lease.
struct Governed {
  std::string sponsor;          ///< peer name or HOST:PORT
  std::string sponsor_address;  ///< HOST:PORT of its control plane, as the source reaches it
  Lease lease;                  ///< the source's until Open
  Bytes limit;                  ///< of memory that is local
  PageLoss page_loss = PageLoss::kWait;
  TransportChoice transport = TransportChoice::kAuto;
};

/// What the destination is told while the VM still runs at the source. It captures the QEMU that waits, registers its
/// memory, and answers no fault before Open.
struct PrepareRequest {
  RegionId region;
  std::string source_node;
  std::string source_address;  ///< HOST:PORT of the source's control plane, which lends the image
  Lease image;                 ///< slot n is page n - 1 of the stopped VM
  std::vector<RamBlock> blocks;  ///< in the order of the pages
  std::int32_t pid = 0;        ///< of the QEMU that waits; exactly one of pid and domain
  std::string domain;
  std::string qmp_socket;      ///< empty: found for a domain
  std::string uri;             ///< for migrate-incoming; empty: somebody else says it
  std::optional<Governed> governed;
};

/// Neighbouring pages that lie in neighbouring slots of a lease, or in the image.
struct PlacedRun {
  std::uint64_t first = 0;
  std::uint64_t pages = 0;
  Slot slot = kNoSlot;  ///< of the first; none: in the image
  bool operator==(const PlacedRun&) const = default;
};

/// Where pages of a governed VM lie now that may have changed since the last one: what was copied of them is void. A page
/// that was never named lies in the image. A long list comes in several pieces.
struct Placement {
  std::vector<PlacedRun> runs;
  bool complete = false;    ///< the last piece of the last one; with it the next two
  Slot mark = kNoSlot;      ///< slots above it were never written
  std::uint64_t pages = 0;  ///< that lie in the lease, all in all
  std::uint64_t number = 0; ///< of this one: it is of no use after a later one
};

/// Neighbouring pages of an image, counted from 0.
struct PageRun {
  std::uint64_t first = 0;
  std::uint64_t pages = 0;
  bool operator==(const PageRun&) const = default;
};

/// What the source says of pages, by itself.
enum class PageNews : std::uint8_t {
  kInvalid = 0,
  kEmpty = 1,    ///< they hold nothing: they need no copy
  kChanged = 2,  ///< what was copied of them so far is void; only before Open
};

/// What a destination asks of the hecads around it when libvirt has started a domain there that waits for a VM.
struct DepartRequest {
  std::string domain;               ///< libvirt's name
  std::string uuid;
  std::string destination_node;
  std::string destination_address;  ///< HOST:PORT of its control plane
  MigrationMode mode = MigrationMode::kPostCopy;  ///< as the domain's metadata ask
};

/// The VM that is about to leave, and may: its QEMU leaves RAM out of its stream from now on.
struct Departing {
  Lease image;
  std::vector<RamBlock> blocks;  ///< in the order of the pages
  std::optional<Governed> governed;
};

enum class ArrivalState : std::uint8_t {
  kInvalid = 0,
  kPrepared = 1,  ///< registered; faults wait
  kOpen = 2,      ///< faults are served; the VM has not run here yet
  kRunning = 3,   ///< the VM runs here; pages still come
  kComplete = 4,  ///< nothing is needed from the source any more
  kFailed = 5,    ///< over without the VM having run here: `trouble`
};

/// How far the destination is.
struct Arrival {
  ArrivalState state = ArrivalState::kInvalid;
  Bytes left;                ///< still at the source
  Bytes moved;
  Bytes zero;
  Nanos open_to_resume{0};   ///< from Open to the VM's RESUME there
  std::uint64_t faults = 0;
  Nanos fault_p50{0};
  Nanos fault_p99{0};
  Nanos blocked{0};
  std::optional<Blocktime> blocktime;  ///< nothing: not known
  std::string trouble;
};

[[nodiscard]] std::string_view ToString(MigrationMode mode);  // "post-copy", "hybrid", "pre-copy"
[[nodiscard]] std::string_view ToString(ArrivalState state);  // "prepared", "open", "running", "complete", "failed"

}  // namespace heca::control
