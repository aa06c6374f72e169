// SPDX-License-Identifier: LGPL-2.1-or-later
// Proof by QEMU that the disk I/O of a moment is over: every queue of every virtio block and SCSI device was seen
// with nothing in use (x-query-virtio-queue-status: `inuse`) at some moment after it.
//
// Why that is a proof: QEMU counts a request from taking it off the ring until it is put back, and puts it back only
// after the disk's completion; so at a moment with inuse == 0 all requests taken before are over. The queues need not
// be idle at the same moment. A device's pin that was made before the write-protection is of a request that was
// counted before it (arming shoots down TLBs, which orders the counter's store on every CPU). It holds only if every
// disk with direct I/O is behind such a queue: each look checks that first, so that a disk plugged in later ends it.
//
// What was considered and left out:
//  * Reading the rings from guest RAM and proving that the requests of a moment were replaced by later ones: the set
//    in flight cannot be rebuilt from the rings (a slow request's entry is overwritten while others pass it), and
//    Linux reuses a descriptor at once, so that "this head was used" does not tell old from new. Packed rings and
//    indirect descriptors make it worse. Not sound, so not done: a queue that is never idle is left to the grace.
//  * Skipping exactly the pages of outstanding descriptors: needs a consistent view of descriptor tables that the
//    guest and QEMU change meanwhile.
//  * An empty QMP `transaction` drains all disks as a side effect: exact, but the guest stands still for as long as
//    its slowest request.
//  * /sys/block/*/inflight: counts all users of the device, and not what is pinned but not yet submitted.
//  * io_uring's fdinfo counters: exact only while the ring is empty, and QEMU 10 keeps polls in it.
//  * A guest that resets a single block queue (VIRTIO_F_RING_RESET) with requests in flight hides them; no guest
//    driver does, and it would hurt itself only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "guest/qmp.h"
#include "heca/status.h"

namespace heca::guest {

/// A disk of the guest, as query-block lists it.
struct DiskFrontend {
  std::string device;   ///< QOM path of the device that has the disk
  std::string filename;
  bool direct = false;  ///< its node, a backing file or the file below has cache.direct=on
};
/// Disks with a medium and a device, from the answers of query-block and query-named-block-nodes.
[[nodiscard]] std::vector<DiskFrontend> ParseDisks(const Json& query_block, const Json& named_block_nodes);

/// One thread at a time, never one that serves faults: every look asks QEMU.
class VirtioIdle {
 public:
  explicit VirtioIdle(Qmp& qmp) : qmp_(qmp) {}

  /// Forgets what was seen idle: from now on the proof is for this moment.
  void Begin() { idle_.clear(); }
  /// Looks once. True: every queue was idle at some moment since Begin. kUnsupported, with the reason, where this
  /// rule cannot speak for all disks (QEMU before 7.2; a disk with direct I/O on an IDE, NVMe or other device).
  [[nodiscard]] Result<bool> Look(Deadline deadline);

 private:
  Result<std::vector<std::string>> BlockDevices(Deadline deadline);
  Status CheckDisks(const std::vector<std::string>& virtio_devices, Deadline deadline);
  std::string TextProperty(const std::string& path, const char* property, Deadline deadline);
  Result<int> QueueCount(const std::string& device, Deadline deadline);

  Qmp& qmp_;
  std::map<std::string, int> queue_counts_;
  std::map<std::string, std::vector<bool>> idle_;  ///< device → per queue: seen idle since Begin
};

}  // namespace heca::guest
