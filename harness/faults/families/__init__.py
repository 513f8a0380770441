"""The kinds of faults, a file a family; each exports KINDS. docs/add-a-fault.md adds one step by step."""
