"""`python -m single_image_gen`."""

from single_image_gen.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
