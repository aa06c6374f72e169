// SPDX-License-Identifier: LGPL-2.1-or-later
#include "connection.h"

#include <utility>

#include "wait.h"

namespace heca::binding {

Result<control::NodeApi*> Connection::Api() {
  if (closed_) return Status(ErrorCode::kFailedPrecondition, "this client is closed: make another one");
  HECA_RETURN_IF_ERROR(EnterProcess());  // before the lock, which a thread of the parent may have held at the fork
  const std::lock_guard lock(mutex_);
  if (client_.get() == nullptr) {
    control::NodeClientOptions options;
    options.socket_path = socket_;
    options.call_timeout = timeout_;
    options.cancelled = [this] { return closed() || Interrupted(); };
    HECA_ASSIGN_OR_RETURN(auto made, control::NodeClient::Create(options));
    client_ = ThisProcess<control::NodeClient>(std::move(made));
  }
  return client_.get();
}

}  // namespace heca::binding
