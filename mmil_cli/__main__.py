"""`python -m mmil_cli`, which torchrun starts as `torchrun -m mmil_cli`."""

from mmil_cli.cli.app import main

if __name__ == "__main__":
    main()
