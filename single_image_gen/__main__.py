"""`python -m single_image_gen`."""

from single_image_gen.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
