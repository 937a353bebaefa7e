"""Examples of every command, as its help shows them: lines of at most 76 characters."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "inspect": (
        "edgepress inspect model.keras",
        "edgepress inspect model_int8.tflite --runtime tflm",
        "edgepress inspect model.keras --columns parameters,MACs",
    ),
    "advise": (
        "edgepress advise model.keras --data data.npz",
        "edgepress advise model.keras --data photos/ --similarity different",
    ),
    "lr-find": (
        "edgepress lr-find model.keras --data data.npz -o curve.png",
        "edgepress lr-find model.keras --data data.npz --unfreeze top:2",
    ),
    "finetune": (
        "edgepress finetune model.keras --data photos/ -o tuned.keras",
        "edgepress finetune model.keras --data data.npz -o tuned.keras \\",
        "    --unfreeze top:2 --epochs 5 --lr 1e-3 --schedule cosine",
        "edgepress finetune model.keras --data data.npz -o tuned.keras --resume",
    ),
    "unfreeze-search": (
        "edgepress unfreeze-search model.keras --data data.npz -o search/",
        "edgepress unfreeze-search model.keras --data data.npz -o search/ \\",
        "    --strategies top,middle,all --epochs 3",
    ),
    "sensitivity": (
        "edgepress sensitivity model.keras --data data.npz -o plot.png",
        "edgepress sensitivity model.keras --data data.npz --ratios 0.25,0.5",
    ),
    "prune": (
        "edgepress prune model.keras --data data.npz -o small.keras \\",
        "    --structure channels --target-macs 0.5 --recover-epochs 10",
        "edgepress prune model.keras --data data.npz -o sparse.keras \\",
        "    --sparsity 0.8 --schedule polynomial --recover-epochs 10",
        "edgepress prune model.keras --structure channels --target-macs 0.5 --dry-run",
    ),
    "strip": ("edgepress strip pruned.keras -o plain.keras",),
    "export": (
        "edgepress export model.keras -o out/ --format tflite,onnx --data data.npz",
        "edgepress export model.keras -o out/ --quantize int8 --io int8 \\",
        "    --data data.npz",
        "edgepress export model.tflite -o out/ --quantize float16",
    ),
    "verify": (
        "edgepress verify model.keras out/model_int8.tflite --data data.npz",
        "edgepress verify model.keras out/model_int8.tflite --layers",
    ),
    "benchmark": (
        "edgepress benchmark out/*.tflite --data data.npz",
        "edgepress benchmark model.tflite --device ssh://pi@10.0.0.3 --threads 1,4",
        "edgepress benchmark model.tflite --against before.json --max-drop 0.01",
    ),
    "devices": (
        "edgepress devices add pi ssh://pi@10.0.0.3",
        "edgepress devices check pi",
    ),
    "doctor": (
        "edgepress doctor model.keras --data data.npz",
        "edgepress doctor model.tflite --runtime tflm --strict",
    ),
    "compress": (
        "edgepress compress model.keras --data data.npz -o run/ --epochs 3 \\",
        "    --structure channels --target-macs 0.5 --recover-epochs 10",
        "edgepress compress recipe.yaml -o run/",
        "edgepress compress --resume run/",
    ),
    "fit": (
        "edgepress fit model.keras --data data.npz --max-drop 0.01 -o fit/",
        "edgepress fit model.keras --data photos/ --minimise gzip_bytes --time 1h \\",
        "    --device ssh://pi@10.0.0.3 -o fit/",
        "edgepress fit --resume fit/ --time 20m",
    ),
    "search": (
        "edgepress search recipe.yaml -o search/ --trials 30",
        "edgepress search --resume search/",
        "edgepress search recipe.yaml -o search/ --storage sqlite:////disk/trials.db",
    ),
    "search-worker": (
        "edgepress search-worker --storage sqlite:////disk/trials.db",
        "edgepress search-worker --storage postgresql+psycopg://me@db/lab \\",
        "    --study search --time 8h",
    ),
    "report": (
        "edgepress report run/ -o report.html",
        "edgepress report run_1/ run_2/ -o both.html",
        "edgepress report benchmark.json -o benchmark.md",
    ),
    "explain": ("edgepress explain arena", "edgepress explain 95 % interval"),
    "schema": (
        "edgepress schema -o recipe.schema.json",
        "edgepress schema --search",
    ),
    "demo": ("edgepress demo", "edgepress demo -o run/ --seed 1"),
}
