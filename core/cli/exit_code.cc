// SPDX-License-Identifier: LGPL-2.1-or-later
#include "cli/exit_code.h"

namespace heca::cli {

ExitCode ExitCodeOf(const Status& status, bool hecad_answers) {
  switch (status.code()) {
    case ErrorCode::kOk:
      return ExitCode::kOk;
    case ErrorCode::kInvalidArgument:
      return ExitCode::kUsage;
    case ErrorCode::kUnavailable:
      return hecad_answers ? ExitCode::kFailed : ExitCode::kUnreachable;
    case ErrorCode::kNotFound:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kResourceExhausted:
    case ErrorCode::kUnsupported:
      return ExitCode::kRefused;
    case ErrorCode::kDeadlineExceeded:
      return ExitCode::kTimedOut;
    case ErrorCode::kBusy:
    case ErrorCode::kAborted:
    case ErrorCode::kDataLoss:
    case ErrorCode::kInternal:
      break;
  }
  return ExitCode::kFailed;
}

}  // namespace heca::cli
