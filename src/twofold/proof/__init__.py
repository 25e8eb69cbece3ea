"""The one table of ideas, and the proof that their two forms are equal.

| file | what |
| --- | --- |
| `ideas.py` | the table: an entry an idea, with its names, forms, formula, paper and proof |
| `parity.py` | what a proof is made of (`Parity`, `Case`, `Refusal`), and `compare`, which measures two forms |
| `verify.py` | runs all cases of an idea: `twofold verify` |
| `cost.py` | measures time, memory and error of both forms: `twofold cost` |
| `cases/` | what is compared, a file for each room of `scratch` |
"""
