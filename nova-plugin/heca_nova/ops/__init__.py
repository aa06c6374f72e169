# SPDX-License-Identifier: Apache-2.0
"""What the driver does about memory, by subject. driver.py says when. Flash clones and mirrored flavors, once they come,
are modules beside these."""
