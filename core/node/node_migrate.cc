// SPDX-License-Identifier: LGPL-2.1-or-later
// Live migration, seen from the node that a VM leaves.
#include "node/node.h"

namespace heca::node {

Result<control::MigrationSummary> Node::Migrate(const control::MigrateSpec& /*spec*/,
                                                control::ProgressSink& /*progress*/) {
  return Status(ErrorCode::kUnsupported, "live migration is not in this build yet", ErrorScope::kNode);
}

}  // namespace heca::node
