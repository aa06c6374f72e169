// SPDX-License-Identifier: LGPL-2.1-or-later
#include "base/transport_choice.h"

namespace heca {

std::string_view ToString(TransportChoice choice) {
  for (const auto& [word, known] : kTransportChoices) {
    if (known == choice) return word;
  }
  return "";
}

TransportChoice TransportChoiceOf(std::string_view word) {
  for (const auto& [known, choice] : kTransportChoices) {
    if (known == word) return choice;
  }
  return TransportChoice::kInvalid;
}

}  // namespace heca
