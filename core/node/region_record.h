// SPDX-License-Identifier: LGPL-2.1-or-later
// The journal of one region beside its page table: what a restarted hecad must know to take it back. One directory a
// region in `<run-dir>/regions` on tmpfs: `region.json` (this record), `region.json.spare` (the one before, kept for its
// space) and `pages` (the table). A record is written over the spare and the two names are exchanged: whoever reads finds
// the one or the other whole, and once an attach has got its space no later write can fail because the tmpfs is full.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/transport_choice.h"
#include "control/node_types.h"
#include "control/sponsor_api.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::node {

/// A block of RAM as it was found at attach.
struct BlockRecord {
  std::string name;
  std::string path;
  std::uint64_t address = 0;  ///< in the target process
  std::uint64_t bytes = 0;
  std::uint64_t file_offset = 0;
  std::uint64_t inode = 0;
};

/// Where the region's pages are lent from.
struct LeaseRecord {
  std::string sponsor;  ///< peer name or HOST:PORT of its control plane
  std::string address;  ///< HOST:PORT of its control plane
  control::Lease lease;
  control::Secret claim{};  ///< of the take-over that is under way or done (TakeOverRequest)
};

enum class RecordPhase : std::uint8_t {
  kInvalid = 0,
  kAttaching = 1,  ///< a lease exists; the userfaultfd may; nothing was evicted
  kActive = 2,
  kEnding = 3,     ///< nothing is away; only the lease is still to be given back
  kDetaching = 4,  ///< governed; all pages are to come home
  kArriving = 5,   ///< governed, of a VM that is coming: its lease is its former host's still, and may only be read
  kLeaving = 6,    ///< of a VM that is leaving: not governed; whose it is, its departure's record tells
};

struct RegionRecord {
  RegionId name;
  RecordPhase phase = RecordPhase::kInvalid;
  std::int32_t pid = 0;
  std::uint64_t start_time = 0;  ///< field 22 of /proc/PID/stat: tells a reused pid
  std::string domain;
  std::string qmp_socket;
  int target_fd = -1;  ///< number of the userfaultfd in the target
  std::uint64_t page_size = 0;
  std::uint64_t limit = 0;
  control::PageLoss page_loss = control::PageLoss::kWait;
  TransportChoice transport = TransportChoice::kAuto;  ///< the region's own, before the node's narrows it
  bool vm_stopped = false;  ///< by us, because pages were out of reach: to be resumed by us
  std::int64_t capture_stop_ns = 0;
  std::int64_t attached_at_s = 0;  ///< Unix time
  std::vector<BlockRecord> blocks;
  LeaseRecord lease;
  bool handed_over = false;  ///< the lease may have another owner, and is to be taken back from whatever epoch
  // Of a VM that came here governed.
  std::uint32_t image_slots = 0;     ///< the lease's slots are counted behind these (store/joined_store.h)
  std::optional<LeaseRecord> image;  ///< of its memory, at its former host; none: given back
  /// The lease is its former host's, whatever the phase, until the VM is known to run here. Never to be given back.
  bool awaited = false;
};

/// Text form, and back. Unknown keys are ignored, a missing one or a wrong type is kDataLoss with its name.
[[nodiscard]] std::string Encode(const RegionRecord& record);
[[nodiscard]] Result<RegionRecord> Decode(const std::string& text);

/// The journal directory. One thread at a time per region.
class RegionJournal {
 public:
  explicit RegionJournal(std::string directory) : directory_(std::move(directory)) {}
  /// Makes the directory if it is not there.
  Status Prepare() const;
  [[nodiscard]] std::string TablePath(const RegionId& region) const;
  /// kResourceExhausted: no room, which only the first record of a region can find.
  Status Write(const RegionRecord& record) const;
  /// Whether a new region with so large a table finds room; kResourceExhausted with the sizes.
  [[nodiscard]] Status CheckRoom(const RegionId& region, Bytes table) const;
  Status Erase(const RegionId& region) const;
  [[nodiscard]] Result<RegionRecord> Read(const RegionId& region) const;
  /// Names of all regions that have a directory.
  [[nodiscard]] Result<std::vector<RegionId>> List() const;

 private:
  [[nodiscard]] std::string Directory(const RegionId& region) const;
  std::string directory_;
};

}  // namespace heca::node
