// SPDX-License-Identifier: LGPL-2.1-or-later
// What libvirt's domain XML says about heca:
//
//   <metadata>
//     <heca:memory xmlns:heca="https://hecatonchire.org/xmlns/1" ratio="1:3" replicas="2" migration="post-copy"/>
//   </metadata>
//
// Attributes: the parts of a MemoryWish, all optional. libvirt keeps the element as it is and understands nothing of
// it. Pure functions of text; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "domain/wish.h"
#include "heca/status.h"
#include "heca/types.h"

namespace heca::domain {

/// The namespace of the element. Its number changes when old readers would misunderstand a new element.
inline constexpr std::string_view kHecaNamespace = "https://hecatonchire.org/xmlns/1";

/// False: the domain is none of ours, whatever else is in the text. One search for the namespace, no parsing, so that
/// a hook is done with other domains in microseconds. True does not promise that ReadMetadata finds something.
[[nodiscard]] bool MentionsHeca(std::string_view xml);

struct HecaMemory {
  std::string domain;  ///< its name
  std::string uuid;    ///< as written; empty where the XML has none
  Bytes size;          ///< <memory>: what the guest starts with, DIMMs included
  MemoryWish wish;
};

/// Fails with kInvalidArgument (this is no domain XML that libvirt would take, or the element has an unknown attribute
/// or a value that is none: the text names it) or kNotFound (a domain without the element).
[[nodiscard]] Result<HecaMemory> ReadMetadata(std::string_view xml);

}  // namespace heca::domain
