// SPDX-License-Identifier: LGPL-2.1-or-later
// What the two hecads of a live migration ask of each other: Depart is asked of the one that the VM leaves, by the one it
// moves to, where libvirt leads; all else of the one it moves to. The node room implements it; MigrationClient
// (control/migration_client.h) implements it over gRPC between peers.
//
//   Prepare ──> prepared ──Open──> open ──(RESUME there)──> running ──(last page)──> complete
//                │  Tell │           │                          (no way back from here)
//                │ Place │           │
//                └───────┴── Abort ──┴──> gone
//
// The memory of a governed VM comes from two places: the image, and the lease that is handed over with it. Place says which
// page lies where, and what of it has changed; Open hands the lease over; Abort after Open means that the source takes it
// back, so until the VM runs the destination only reads it.
//
// Pages may come ahead, while the VM still runs at the source: from the first Tell before Open on, the destination copies
// what it lacks (of a VM that is governed only from the image), and the source tells which copies are void. Nobody is
// answered from them before Open.
//
// Every call after Prepare shows the key of the image's lease, whose secret only the two sides know. A wrong key is
// kPermissionDenied, an arrival that is not known (any more) kNotFound.
#pragma once

#include <string>
#include <vector>

#include "control/migration_types.h"
#include "heca/status.h"

namespace heca::control {

/// Thread-safe. Calls block for as long as a network call does, Prepare for as long as QEMU needs too.
class MigrationApi {
 public:
  virtual ~MigrationApi() = default;
  /// kNotFound: no such domain runs here, or it does not ask for heca; kFailedPrecondition: it cannot be migrated so, with
  /// the reason. Taken back by Abort, and by itself when QEMU's migration fails or does not begin.
  [[nodiscard]] virtual Result<Departing> Depart(const DepartRequest& request) = 0;
  /// Refused with the destination's QEMU left as it was: kFailedPrecondition (other RAM, no QMP, what cannot be
  /// governed), kResourceExhausted (no room), kAlreadyExists (the region's name).
  [[nodiscard]] virtual Status Prepare(const PrepareRequest& request) = 0;
  /// Of a VM that is governed, before Open: again and again while it runs, and at last when it was stopped. What was copied of
  /// pages that are named is used no more when it returns. Pieces may be repeated. kInvalidArgument: not its pages or slots;
  /// kDataLoss: all in all they contradict each other; kFailedPrecondition: after Open, out of date, or a VM that is not
  /// governed.
  [[nodiscard]] virtual Status Place(const RegionId& region, const LeaseKey& image, const Placement& placement) = 0;
  /// The source's VM is stopped and its disks are drained: serve faults from the image from now on. May be repeated. Of a VM
  /// that is governed it takes the lease over; kFailedPrecondition if it was not told where all pages lie.
  [[nodiscard]] virtual Status Open(const RegionId& region, const LeaseKey& image) = 0;
  /// News of pages; when it returns, no copy of a changed page is used any more. Empty ones are a saving only, and may be
  /// told after Open, because finding them takes time. May be repeated. kInvalidArgument: not pages of the image;
  /// kFailedPrecondition: pages that changed after Open.
  [[nodiscard]] virtual Status Tell(const RegionId& region, const LeaseKey& image, PageNews news,
                                    const std::vector<PageRun>& runs) = 0;
  /// How far it is; from now on copies are made at `bandwidth` bytes a second (0: as fast as it goes). Pages that a thread
  /// waits for are not held up.
  [[nodiscard]] virtual Result<Arrival> Look(const RegionId& region, const LeaseKey& image, std::uint64_t bandwidth) = 0;
  /// kFailedPrecondition once the VM runs there.
  [[nodiscard]] virtual Status Abort(const RegionId& region, const LeaseKey& image, const std::string& why) = 0;
};

}  // namespace heca::control
